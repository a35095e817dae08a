import {
  type BudgetAllocator,
  type BudgetContext,
  checkFraction,
  checkWholeNumber,
  type Encoder,
  groupSize,
  type Signal,
  sum,
  type Tensor,
} from "@kvcache/core";
import { evenShare, haltingCounts, roundHalfEven, windowSums } from "@kvcache/kernels";

/** Where the weights come from whose norm is watched. */
export interface WatchedAttention {
  readonly needs: readonly Signal[];
  /** Records the work that fills `out`: f32 [totalSlots × groupSize], see `windowSums`. */
  record(encoder: Encoder, context: BudgetContext, out: Tensor): void;
}

export interface DBudgetOptions {
  /** Part of the norm that may be lost, in [0, 1]. Default 0.01. */
  readonly threshold?: number;
  /** Layers that keep everything. Default the first two. */
  readonly skipLayers?: readonly number[];
  /** Other weights than the last query's attention. */
  readonly attention?: WatchedAttention;
}

/**
 * DBudget — evict until the last query would notice.
 * A layer gives up its lowest scores while the norm of the last query's attention over what is left,
 * protected tokens aside, has lost no more than the threshold. There is no budget: a target of ratio 1
 * lets the rule decide alone, a smaller one caps it.
 * Ni et al. 2025, arXiv:2502.16886. Differs from the paper: one attention row stands for the whole
 * matrix, as in the authors' code; the norm is a mean over query heads, the kept tokens are a KV head's.
 */
export function dbudget(options: DBudgetOptions = {}): BudgetAllocator {
  const { threshold = 0.01, skipLayers = [0, 1], attention = lastQuery } = options;
  checkFraction("threshold", threshold);
  for (const layer of skipLayers) checkWholeNumber("skipLayers", layer, 0);
  return Object.freeze<BudgetAllocator>({
    name: "dbudget",
    needs: attention.needs,
    resolve(request) {
      const { target, lengths, nextPosition, layout, protect } = request;
      const even = evenShare(request, true);
      const rounded = "ratio" in target ? roundHalfEven(nextPosition * target.ratio) : 0;
      const mustStay = Math.max(1, protect.sinks + protect.recent);
      const { numKvHeads } = layout.shape;
      return sum(
        lengths.map((length, row) => {
          if (skipLayers.includes(Math.floor(row / numKvHeads))) return length;
          return Math.min(length, Math.max(even[row]!, rounded, mustStay));
        }),
      );
    },
    allocate(encoder, context, counts) {
      const { batch, target, scores } = context;
      const weights = encoder.tensor("f32", batch.totalSlots * groupSize(batch.shape));
      attention.record(encoder, context, weights);
      const params = { batch, target, scores, attention: weights, threshold, skipLayers, counts };
      encoder.run(haltingCounts, params);
    },
  });
}

const lastQuery: WatchedAttention = {
  needs: [{ kind: "windowQueries", window: 1 }],
  record: (encoder, { batch }, out) => encoder.run(windowSums, { batch, window: 1, out }),
};
