import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import {
  compactor as compactorScorer,
  type CompactorOptions as ScorerOptions,
} from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface CompactorOptions extends Omit<ScorerOptions, "ends" | "sketchOf"> {
  /** First tokens, never evicted. */
  readonly sinks?: number;
  /** Last tokens, never evicted. */
  readonly recent?: number;
  /** Both ends stay also where a ratio keeps fewer tokens; false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * Compactor — keep outliers among the keys, and what its own neighbourhood looks at.
 * Leverage scores of the keys before RoPE × a weight + non-causal attention within chunks, both
 * standardised over the layer; the weight is the fraction that is evicted.
 * Chari and Van Durme 2025, arXiv:2507.08143. Differs from the paper: that weight instead of a
 * calibrated one, a Cholesky factor with a ridge, and the chunks of non-causal-attention.
 */
export const compactor = (options: CompactorOptions = {}) => {
  const { sinks = 8, recent = 4, keepProtected = true, ...rest } = options;
  const { sketch = 48, seed = 0, chunk = 256, padding = "zero-logit", blending = null } = rest;
  return definePolicy({
    name: "compactor",
    paper: "arXiv:2507.08143",
    scorer: compactorScorer({
      ...{ sketch, seed, chunk, padding, blending },
      ends: { sinks, recent },
    }),
    budget: uniform({ keepProtected }),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent },
    queryAware: false,
    options: { sinks, recent, sketch, seed, chunk, padding, blending, keepProtected },
  });
};
