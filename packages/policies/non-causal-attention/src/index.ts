import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import {
  nonCausalAttention as nonCausalAttentionScorer,
  type NonCausalAttentionOptions as ScorerOptions,
} from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export type NonCausalAttentionOptions = Omit<ScorerOptions, "ends">;

/**
 * Non-causal attention — keep what its own neighbourhood looks at, from both sides.
 * Within chunks of 256 tokens everything attends to everything; what a token receives, times the
 * norm of its value, is smoothed and standardised over the layer. The other half of Compactor.
 * Chari and Van Durme 2025, arXiv:2507.08143. Differs from the paper: logits are not scaled, and a
 * last, shorter chunk is filled up, as kvpress does; `padding: "none"` takes it as it is.
 */
export const nonCausalAttention = (options: NonCausalAttentionOptions = {}) => {
  const { chunk = 256, padding = "zero-logit" } = options;
  return definePolicy({
    name: "non-causal-attention",
    paper: "arXiv:2507.08143",
    scorer: nonCausalAttentionScorer({ chunk, padding }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: { chunk, padding },
  });
};
