import { type AdaKVBudgetOptions, adaKV as adaKVBudget } from "@kvcache/budget-ada-kv";
import {
  checkOneOf,
  checkPolicy,
  definePolicy,
  type EvictionPolicy,
  KvCacheError,
  type Protect,
  policyOption,
  type Scorer,
} from "@kvcache/core";
import { type WindowAttentionOptions, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface AdaKVOptions
  extends Partial<
    Pick<WindowAttentionOptions, "window" | "pooling" | "rowReduce" | "groupReduce">
  > {
  /** Whose arithmetic the other options default to. */
  readonly variant?: "kvpress" | "authors" | "kvcache-factory";
  /** Whose scores and protection stand in place of SnapKV's; the scores comparable between heads. */
  readonly policy?: EvictionPolicy | null;
  /** Scores alone in place of SnapKV's. */
  readonly scorer?: Scorer | null;
  /** What stays in any case; what `policy` protects, or the observation window, when absent. */
  readonly protect?: Protect;
  /** How a layer's tokens are split. */
  readonly budget?: AdaKVBudgetOptions;
  /** Short for that part of `budget`, where its mode is reserve-then-global. */
  readonly safeguard?: number | null;
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
 * Scores as SnapKV (or any policy); the layer's total is shared between its KV heads by those scores.
 * Feng et al. 2024, arXiv:2407.11550. Differs from the paper: see @kvcache/budget-ada-kv; scores are
 * reduced over the query heads of a KV head.
 */
export const adaKV = ({ variant = "kvpress", ...options }: AdaKVOptions = {}) => {
  checkOneOf("variant", variant, ["kvpress", "authors", "kvcache-factory"]);
  const { groupReduce = "mean", policy = null, safeguard = null } = options;
  const inner = policy && checkPolicy("policy", policy);
  const other = checkScorer(options.scorer, inner);
  const { window, pooling, rowReduce, ...defaults } = { ...variants[variant], ...options };
  const budget = safeguard === null ? defaults.budget : withSafeguard(defaults.budget, safeguard);
  const scorer =
    inner?.scorer ?? other ?? windowAttention({ window, pooling, rowReduce, groupReduce });
  const protect = options.protect ?? inner?.protect ?? { sinks: 0, recent: window };
  return definePolicy({
    name: "ada-kv",
    paper: "arXiv:2407.11550",
    scorer,
    budget: adaKVBudget(budget),
    selector: topK(),
    ...(inner?.transform && { transform: inner.transform }),
    trigger: inner?.trigger ?? { prefill: true, pressure: false },
    protect,
    queryAware: inner?.queryAware ?? scorer.needs.some((signal) => signal.kind === "windowQueries"),
    options: {
      variant,
      window,
      pooling,
      rowReduce,
      groupReduce,
      policy: policyOption(policy),
      scorer: other && { name: other.name, ...other.options },
      protect,
      budget,
      safeguard,
    },
  });
};

function checkScorer(scorer: Scorer | null = null, policy: EvictionPolicy | null): Scorer | null {
  if (scorer === null) return null;
  const remedy = "Give one of policy and scorer.";
  if (policy)
    throw new KvCacheError("invalid-argument", "scorer and policy both name scores.", { remedy });
  if (typeof scorer.score === "function") return scorer;
  throw new KvCacheError("invalid-argument", "scorer must be a Scorer, not a description of one.", {
    value: scorer,
    remedy: "Name a policy instead, as the option policy.",
  });
}

function withSafeguard(budget: AdaKVBudgetOptions, safeguard: number): AdaKVBudgetOptions {
  if (budget.mode === "reserve-then-global") return { ...budget, safeguard };
  throw new KvCacheError("invalid-argument", "safeguard belongs to mode reserve-then-global.", {
    value: safeguard,
    remedy: "Use budget.floor with this mode.",
  });
}
