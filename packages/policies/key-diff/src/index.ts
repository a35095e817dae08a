import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { keyDiff as keyDiffScorer } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface KeyDiffOptions {
  /** First tokens that stay in any case. */
  readonly sinks?: number;
  /** Last tokens that stay in any case. */
  readonly recent?: number;
}

/**
 * KeyDiff — keep the keys that differ most from the rest.
 * Scores a token by minus the cosine between its key and the mean direction of the head's keys.
 * Park et al. 2025, arXiv:2504.15364. Differs from the paper: one choice at the prompt's end, not
 * block by block while it is read.
 */
export const keyDiff = ({ sinks = 0, recent = 0 }: KeyDiffOptions = {}) =>
  definePolicy({
    name: "key-diff",
    paper: "arXiv:2504.15364",
    scorer: keyDiffScorer(),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: true },
    protect: { sinks, recent },
    queryAware: false,
    options: { sinks, recent },
  });
