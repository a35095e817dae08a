import { lagKV as lagKVBudget } from "@kvcache/budget-lag-kv";
import { uniform } from "@kvcache/budget-uniform";
import { checkOneOf, definePolicy } from "@kvcache/core";
import { lagRank, lagSpread } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface LagKVOptions {
  /** kvpress chooses once, within the budget; the authors cut each partition down as it passes. */
  readonly variant?: "kvpress" | "authors";
  /** First tokens, never evicted. */
  readonly sinks?: number;
  /** Tokens of a partition, scored against the next one. */
  readonly lag?: number;
  /** Scores compete across partitions; else every partition loses equally. Variant kvpress. */
  readonly crossScoring?: boolean;
  /** Sinks stay also where a ratio keeps fewer tokens. Variant kvpress. */
  readonly keepProtected?: boolean;
}

const variants = { kvpress: { sinks: 4, lag: 128 }, authors: { sinks: 16, lag: 1024 } } as const;

/**
 * LagKV — keep tokens that stand out against those that follow.
 * Partition by partition, a token's channels are normalised by the range of the next partition; how
 * far they spread, in keys and values, ranks it. No query is looked at.
 * Liang et al. 2025, arXiv:2504.04704. Differs from the paper: by default one choice at the prompt's
 * end, whose budget pays for the unscored tail too, as kvpress; `authors` is the paper's.
 */
export const lagKV = ({ variant = "kvpress", ...options }: LagKVOptions = {}) => {
  checkOneOf("variant", variant, ["kvpress", "authors"]);
  const { crossScoring = false, keepProtected = true } = options;
  const { sinks, lag } = { ...variants[variant], ...options };
  const once = variant === "kvpress";
  return definePolicy({
    name: "lag-kv",
    paper: "arXiv:2504.04704",
    scorer: once ? lagSpread({ sinks, lag, crossScoring }) : lagRank({ sinks, lag }),
    budget: once ? uniform({ keepProtected }) : lagKVBudget({ sinks, lag }),
    selector: topK(),
    trigger: once
      ? { prefill: true, pressure: true }
      : { prefill: true, interval: lag, pressure: true },
    protect: { sinks, recent: 0 },
    queryAware: false,
    options: { variant, sinks, lag, crossScoring, keepProtected },
  });
};
