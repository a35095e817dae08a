import { uniform } from "@kvcache/budget-uniform";
import { checkOneOf, definePolicy } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface SnapKVOptions
  extends Partial<
    Pick<WindowAttentionOptions, "window" | "pooling" | "rowReduce" | "groupReduce">
  > {
  /** Whose arithmetic the other options default to. */
  readonly variant?: "kvpress" | "kvcache-factory";
  /** Pools each query head before its group is reduced. */
  readonly poolFirst?: boolean;
  /** The window stays also where a ratio keeps fewer tokens; false lets it go, as kvpress does. */
  readonly keepProtected?: boolean;
}

const variants = {
  kvpress: { window: 64, pooling: { kind: "avg", size: 5 }, rowReduce: "mean", poolFirst: true },
  "kvcache-factory": {
    window: 32,
    pooling: { kind: "max", size: 7 },
    rowReduce: "sum",
    poolFirst: false,
  },
} as const;

/**
 * SnapKV — keep what the last queries look at.
 * Scores a token by the pooled attention of the observation window; the window itself always stays.
 * Li et al. 2024, arXiv:2404.14469. Differs from the paper: scores are reduced over the query heads
 * of a KV head, so that the cache is not repeated per query head.
 */
export const snapKV = ({ variant = "kvpress", ...options }: SnapKVOptions = {}) => {
  checkOneOf("variant", variant, ["kvpress", "kvcache-factory"]);
  const { keepProtected = true, groupReduce = "mean" } = options;
  const { window, pooling, rowReduce, poolFirst } = { ...variants[variant], ...options };
  return definePolicy({
    name: "snap-kv",
    paper: "arXiv:2404.14469",
    scorer: windowAttention({ window, pooling, rowReduce, groupReduce, poolFirst }),
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { variant, window, pooling, rowReduce, groupReduce, poolFirst, keepProtected },
  });
};
