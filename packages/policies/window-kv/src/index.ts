import { quarterOfLayers, reviewWindows as reviewBudget } from "@kvcache/budget-review-windows";
import { checkOneOf, checkWholeNumber, definePolicy } from "@kvcache/core";
import { reviewWindows } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import type { WindowTask } from "./classify-task.ts";

export { classifyTask, type WindowTask } from "./classify-task.ts";

export interface WindowKVOptions {
  /** What the prompt asks for, see `classifyTask`: decides what makes a window important. */
  readonly task?: WindowTask;
  /** Last tokens that look back and always stay; null: 32 for localization, 16 for aggregation. */
  readonly suffix?: number | null;
  /** Tokens of a window. */
  readonly windowSize?: number;
  /** For localization: best tokens of a window that count; null: half of it. */
  readonly topTokens?: number | null;
  /** Layers that share the windows of the first of them; null: a quarter of the model's, or 1. */
  readonly groupSize?: number | null;
  /** Slope of the layers' budgets. */
  readonly beta?: number;
}

/**
 * WindowKV — keep whole windows of tokens, ranked by what the task needs.
 * To find something, a window counts by its best tokens, to sum something up, by all; groups of layers
 * share the choice of their first layer, and keep fewer windows from group to group.
 * Zuo et al. 2025, arXiv:2503.17922. Differs from the paper: its classifier's weights are not published;
 * the task is given, or guessed by rules of ours. Budgets fall as in the code.
 */
export const windowKV = (options: WindowKVOptions = {}) => {
  const { task = "localization", windowSize = 8, groupSize = null, beta = 14 } = options;
  checkOneOf("task", task, ["localization", "aggregation"]);
  const suffix = options.suffix ?? (task === "localization" ? 32 : 16);
  const topTokens = options.topTokens ?? Math.max(1, windowSize >> 1);
  if (groupSize !== null) checkWholeNumber("groupSize", groupSize, 1);
  const groupLayers = groupSize === null ? quarterOfLayers : () => groupSize;
  const statistic = task === "localization" ? "best" : "average";
  return definePolicy({
    name: "window-kv",
    paper: "arXiv:2503.17922",
    scorer: reviewWindows({ suffix, windowSize, groupLayers, statistic, topTokens }),
    budget: reviewBudget({ windowSize, groupLayers, beta }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: suffix },
    queryAware: true,
    options: { task, suffix, windowSize, topTokens, groupSize, beta },
  });
};
