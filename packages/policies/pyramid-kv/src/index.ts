import { pyramid } from "@kvcache/budget-pyramid";
import { checkOneOf, definePolicy } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface PyramidKVOptions
  extends Partial<
    Pick<WindowAttentionOptions, "window" | "pooling" | "rowReduce" | "groupReduce" | "poolFirst">
  > {
  /** Whose arithmetic the other options default to. */
  readonly variant?: "kvpress" | "kvcache-factory";
  /** How steep the budget falls; 1 is SnapKV. */
  readonly beta?: number;
  /** See @kvcache/budget-pyramid. */
  readonly rounding?: "kvpress" | "reference" | "exact";
  /** The window stays also where a layer's share is smaller; false lets it go, as kvpress does. */
  readonly keepProtected?: boolean;
}

const variants = {
  kvpress: {
    window: 64,
    pooling: { kind: "avg", size: 5 },
    rowReduce: "mean",
    poolFirst: true,
    rounding: "kvpress",
  },
  "kvcache-factory": {
    window: 8,
    pooling: { kind: "max", size: 7 },
    rowReduce: "sum",
    poolFirst: false,
    rounding: "reference",
  },
} as const;

/**
 * PyramidKV — SnapKV's scores, with more tokens for lower layers than for higher ones.
 * Attention spreads wide in the lower layers and gathers on few tokens in the upper ones.
 * Cai et al. 2024, arXiv:2406.02069. Differs from the paper: see @kvcache/budget-pyramid; scores are
 * reduced over the query heads of a KV head.
 */
export const pyramidKV = ({ variant = "kvpress", ...options }: PyramidKVOptions = {}) => {
  checkOneOf("variant", variant, ["kvpress", "kvcache-factory"]);
  const { beta = 20, groupReduce = "mean", keepProtected = true } = options;
  const { window, pooling, rowReduce, poolFirst, rounding } = { ...variants[variant], ...options };
  return definePolicy({
    name: "pyramid-kv",
    paper: "arXiv:2406.02069",
    scorer: windowAttention({ window, pooling, rowReduce, groupReduce, poolFirst }),
    budget: pyramid({ beta, rule: rounding, keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: {
      variant,
      window,
      pooling,
      rowReduce,
      groupReduce,
      poolFirst,
      beta,
      rounding,
      keepProtected,
    },
  });
};
