import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { layerTopCounts } from "../layer-top-counts/layer-top-counts.ts";
import { countProtected } from "../uniform-counts/uniform-counts.ts";
import { reservedCountsWgsl } from "./reserved-counts.wgsl.ts";

export interface ReservedCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Fraction of its even share that every row is sure of, in [0, 1]. */
  readonly safeguard: number;
  /** A row's even share is at least its protected slots. */
  readonly keepProtected: boolean;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Reserve, then share: in every layer each row keeps its own best `safeguard` part (and what is
 * protected), the rest of the layer's tokens goes to the best scores of all its rows. The total of
 * a layer is exactly the sum of the even shares.
 */
export const reservedCounts = defineKernel<ReservedCountsParams>({
  name: "reserved-counts",
  reference({ batch, target, scores, safeguard, keepProtected, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const heads = batch.shape.numKvHeads;
    for (let first = 0; first < batch.numRows; first += heads) {
      const sequence = Math.floor(first / (heads * batch.layers.length));
      const nextPosition = batch.nextPositions[sequence]!;
      const tokens = Math.max(1, targetTokens(target, nextPosition, batch.layout));
      const contested: Float64Array[] = [];
      let left = 0;
      for (let row = first; row < first + heads; row++) {
        const [start, end] = [indptr[row]!, indptr[row + 1]!];
        const isProtected = countProtected(scoreOf, start, end);
        const even = Math.min(end - start, keepProtected ? Math.max(tokens, isProtected) : tokens);
        const sure = Math.max(1, Math.trunc(even * safeguard), isProtected);
        out[row] = Math.min(even, sure);
        left += even - out[row]!;
        const descending = Float64Array.from(scoreOf.subarray(start, end)).sort().reverse();
        contested.push(descending.subarray(out[row]!));
      }
      layerTopCounts(contested, left).forEach((count, head) => {
        out[first + head]! += count;
      });
    }
  },
  wgsl: reservedCountsWgsl,
});
