import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { type AccumulatedAttentionOptions, accumulatedAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface ObservedAttentionOptions
  extends Pick<AccumulatedAttentionOptions, "queries" | "groupReduce"> {
  /** Last tokens that stay in any case. */
  readonly recent?: number;
}

/**
 * Observed attention — keep what the tokens behind it looked at, on average.
 * The attention that a token received, divided by the number of queries that could see it.
 * kvpress 0.5.5, ObservedAttentionPress, after H2O: Zhang et al. 2023, arXiv:2306.14048. Differs from
 * the paper: means instead of sums, so that early tokens have no advantage; no recent half.
 */
export const observedAttention = (options: ObservedAttentionOptions = {}) => {
  const { queries = "all", groupReduce = "mean", recent = 0 } = options;
  return definePolicy({
    name: "observed-attention",
    paper: "arXiv:2306.14048",
    scorer: accumulatedAttention({ queries, groupReduce, average: true }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: true },
    protect: { sinks: 0, recent },
    queryAware: true,
    options: { queries, groupReduce, recent },
  });
};
