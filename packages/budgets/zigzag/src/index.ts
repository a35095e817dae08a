import { type BudgetAllocator, checkFraction, checkWholeNumber } from "@kvcache/core";
import { layerShareCounts, sharedTotal } from "@kvcache/kernels";
import { type LayerMeasure, lmba } from "./measure.ts";

export { type LayerMeasure, type LmbaOptions, lmba, lmbo } from "./measure.ts";

export interface ZigzagOptions {
  /** What layers are weighed by. Default `lmba` of the last 32 queries. */
  readonly measure?: LayerMeasure;
  /** Tokens that every row keeps; null (default): a part of the target, see `minFraction`. */
  readonly minTokens?: number | null;
  /** That part, in [0, 1]. Default 0.2. */
  readonly minFraction?: number;
}

/**
 * ZigZag — tokens to the layers whose attention needs many.
 * A layer's need is how many tokens carry most of its attention; every layer has a floor, the rest is
 * shared in proportion to need. What passes a row's length goes to the other layers.
 * Zhong et al. 2024, arXiv:2412.09036. Differs from the paper: protected tokens are part of a row's
 * share, the total is exact, and attention of the window to itself is not looked at.
 */
export function zigzag(options: ZigzagOptions = {}): BudgetAllocator {
  const { measure = lmba({ window: 32 }), minTokens = null, minFraction = 0.2 } = options;
  if (minTokens !== null) checkWholeNumber("minTokens", minTokens, 1);
  checkFraction("minFraction", minFraction);
  return Object.freeze<BudgetAllocator>({
    name: "zigzag",
    needs: measure.needs,
    resolve: sharedTotal,
    allocate(encoder, context, counts) {
      const { batch, target, scores } = context;
      const weights = encoder.tensor("f32", batch.sequences.length * batch.layers.length);
      measure.record(encoder, context, weights);
      encoder.run(layerShareCounts, {
        batch,
        target,
        scores,
        weights,
        floor: minTokens === null ? { fraction: minFraction } : { tokens: minTokens },
        counts,
      });
    },
  });
}
