import { uniform } from "@kvcache/budget-uniform";
import { checkOneOf, definePolicy } from "@kvcache/core";
import { type AccumulatedAttentionOptions, accumulatedAttention } from "@kvcache/scorers";
import { recentAndTopK } from "@kvcache/selectors";

export interface H2OOptions extends Pick<AccumulatedAttentionOptions, "queries" | "groupReduce"> {
  /** Whose choice the other options default to. */
  readonly variant?: "authors" | "kvcache-factory";
  /** Part of the budget that the most recent tokens take; the rest are heavy hitters. */
  readonly recentShare?: number;
  /** Last tokens that stay in any case. */
  readonly window?: number;
  /** Decoded tokens between two evictions; null for none while decoding. */
  readonly interval?: number | null;
}

const variants = {
  authors: { recentShare: 0.5, window: 0, interval: 16 },
  "kvcache-factory": { recentShare: 0, window: 8, interval: null },
} as const;

/**
 * H2O — keep heavy hitters and the most recent tokens.
 * A heavy hitter has gathered much attention from all queries so far; the cache adds it up while the
 * model runs, so that eviction goes on while decoding.
 * Zhang et al. 2023, arXiv:2306.14048. Differs from the paper: sums are reduced over the query heads
 * of a KV head; eviction every `interval` tokens, not at every one.
 */
export const h2o = ({ variant = "authors", ...options }: H2OOptions = {}) => {
  checkOneOf("variant", variant, ["authors", "kvcache-factory"]);
  const { queries = "all", groupReduce = "mean" } = options;
  const { recentShare, window, interval } = { ...variants[variant], ...options };
  return definePolicy({
    name: "h2o",
    paper: "arXiv:2306.14048",
    scorer: accumulatedAttention({ queries, groupReduce }),
    budget: uniform(),
    selector: recentAndTopK({ share: recentShare }),
    trigger: { prefill: true, ...(interval !== null && { interval }), pressure: interval !== null },
    protect: { sinks: 0, recent: window },
    queryAware: true,
    options: { variant, queries, groupReduce, recentShare, window, interval },
  });
};
