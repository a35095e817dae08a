import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { leverage } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";

export interface LeverageScoreOptions {
  /** Columns of the random sketch of the keys. */
  readonly sketch?: number;
  /** Of the random sketches. */
  readonly seed?: number;
}

/**
 * Leverage scores — keep the tokens whose keys no others can stand in for.
 * Leverage of the keys before RoPE, centred over the tokens and multiplied by a Gaussian sketch,
 * standardised over the layer. Half of Compactor, without the attention.
 * Chari and Van Durme 2025, arXiv:2507.08143. Differs from the paper: a Cholesky factor with a ridge
 * of 0.01 in place of a singular value decomposition.
 */
export const leverageScore = ({ sketch = 48, seed = 0 }: LeverageScoreOptions = {}) =>
  definePolicy({
    name: "leverage-score",
    paper: "arXiv:2507.08143",
    scorer: leverage({ sketch, seed }),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent: 0 },
    queryAware: false,
    options: { sketch, seed },
  });
