import { lmba, lmbo, zigzag } from "@kvcache/budget-zigzag";
import { checkOneOf, definePolicy } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface ZigZagKVOptions
  extends Partial<Pick<WindowAttentionOptions, "window" | "pooling" | "groupReduce">> {
  /** A layer's need: tokens that carry its attention, or that make up its output. */
  readonly measure?: "lmba" | "lmbo";
  /** Fraction of the attention, or cosine of the output, that must be kept. */
  readonly tau?: number;
  /** Tokens that every row keeps; null: a fifth of the target, the window at least. */
  readonly minTokens?: number | null;
  /** For `lmba`: leaves the window's own tokens out; looks at KV heads or at every query head. */
  readonly excludeWindow?: boolean;
  readonly granularity?: "kvHead" | "queryHead";
}

/**
 * ZigZagKV — give each layer the tokens that its attention needs.
 * How many tokens carry 90 % of a layer's attention says how much it gets, above a floor for all; tokens
 * are chosen as SnapKV does.
 * Zhong et al. 2024, arXiv:2412.09036. Differs from the paper: the window is part of a layer's share and
 * no part of its need; the total is exact. LMBO, its measure for analysis, can allot too.
 */
export const zigZagKV = (options: ZigZagKVOptions = {}) => {
  const { window = 32, pooling = { kind: "avg", size: 5 }, groupReduce = "mean" } = options;
  const { measure = "lmba", tau = 0.9, minTokens = null } = options;
  const { excludeWindow = true, granularity = "kvHead" } = options;
  checkOneOf("measure", measure, ["lmba", "lmbo"]);
  const need =
    measure === "lmba"
      ? lmba({ window, tau, excludeWindow, granularity })
      : lmbo({ window, similarity: tau });
  return definePolicy({
    name: "zigzag-kv",
    paper: "arXiv:2412.09036",
    scorer: windowAttention({ window, pooling, groupReduce }),
    budget: zigzag({ measure: need, minTokens }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: {
      window,
      pooling,
      groupReduce,
      measure,
      tau,
      minTokens,
      excludeWindow,
      granularity,
    },
  });
};
