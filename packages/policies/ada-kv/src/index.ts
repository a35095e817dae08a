import { type AdaKVBudgetOptions, adaKV as adaKVBudget } from "@kvcache/budget-ada-kv";
import { checkOneOf, definePolicy, KvCacheError, type Protect, type Scorer } from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface AdaKVOptions
  extends Partial<
    Pick<WindowAttentionOptions, "window" | "pooling" | "rowReduce" | "groupReduce">
  > {
  /** Whose arithmetic the other options default to. */
  readonly variant?: "kvpress" | "authors" | "kvcache-factory";
  /** Scores in place of SnapKV's; comparable between heads. */
  readonly scorer?: Scorer | null;
  /** What stays in any case; the observation window when absent. */
  readonly protect?: Protect;
  /** How a layer's tokens are split. */
  readonly budget?: AdaKVBudgetOptions;
}

const authors = {
  window: 32,
  pooling: { kind: "max", size: 7 },
  rowReduce: "mean",
  budget: { mode: "floor-blend", rounding: "reference" },
} as const;
const variants = {
  kvpress: {
    window: 64,
    pooling: { kind: "avg", size: 5 },
    rowReduce: "mean",
    budget: { mode: "reserve-then-global" },
  },
  authors,
  "kvcache-factory": { ...authors, budget: { ...authors.budget, normalize: true } },
} as const;

/**
 * Ada-KV — give each head a budget by where the layer's best scores lie.
 * Scores as SnapKV (or any scorer); the layer's total is shared between its KV heads by those scores.
 * Feng et al. 2024, arXiv:2407.11550. Differs from the paper: see @kvcache/budget-ada-kv; scores are
 * reduced over the query heads of a KV head.
 */
export const adaKV = ({ variant = "kvpress", ...options }: AdaKVOptions = {}) => {
  checkOneOf("variant", variant, ["kvpress", "authors", "kvcache-factory"]);
  const { groupReduce = "mean", scorer: other = null } = options;
  if (other !== null && typeof other.score !== "function")
    throw new KvCacheError(
      "invalid-argument",
      "scorer must be a Scorer, not a description of one.",
      {
        value: other,
      },
    );
  const { window, pooling, rowReduce, budget } = { ...variants[variant], ...options };
  const scorer = other ?? windowAttention({ window, pooling, rowReduce, groupReduce });
  const protect = options.protect ?? { sinks: 0, recent: window };
  return definePolicy({
    name: "ada-kv",
    paper: "arXiv:2407.11550",
    scorer,
    budget: adaKVBudget(budget),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect,
    queryAware: scorer.needs.some((signal) => signal.kind === "windowQueries"),
    options: {
      variant,
      window,
      pooling,
      rowReduce,
      groupReduce,
      scorer: other && { name: other.name, ...other.options },
      protect,
      budget,
    },
  });
};
