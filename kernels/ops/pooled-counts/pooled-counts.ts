import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { layerTopCounts } from "../layer-top-counts/layer-top-counts.ts";
import { countProtected } from "../uniform-counts/uniform-counts.ts";

export interface PooledCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Rows that compete: those of a layer, or all of a sequence. */
  readonly scope: "layer" | "model";
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Tokens that `numRows` rows keep together. A ratio is counted by what it evicts, as KVzip does:
 * N − ⌊N × (1 − ratio)⌋ of N = numRows × nextPosition.
 */
export function pooledTokens(
  target: BudgetTarget,
  nextPosition: number,
  numRows: number,
  layout: CacheLayout,
): number {
  if (!("ratio" in target)) return numRows * targetTokens(target, nextPosition, layout);
  const all = numRows * nextPosition;
  return all - Math.trunc(all * (1 - target.ratio));
}

/**
 * The best scores of all rows of a layer, or of a whole sequence: what is protected in a row and one
 * token of each are sure, the rest of the tokens goes to the highest scores wherever they lie. Ties
 * go to the earlier row. The total is exact.
 */
export const pooledCounts = defineKernel<PooledCountsParams>({
  name: "pooled-counts",
  reference({ batch, target, scores, scope, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const rowsPerSequence = batch.layers.length * batch.shape.numKvHeads;
    const rowsPerPool = scope === "layer" ? batch.shape.numKvHeads : rowsPerSequence;
    for (let first = 0; first < batch.numRows; first += rowsPerPool) {
      const nextPosition = batch.nextPositions[Math.floor(first / rowsPerSequence)]!;
      let left = pooledTokens(target, nextPosition, rowsPerPool, batch.layout);
      const contested: Float64Array[] = [];
      for (let row = first; row < first + rowsPerPool; row++) {
        const own = scoreOf.subarray(indptr[row]!, indptr[row + 1]!);
        out[row] = Math.min(own.length, Math.max(1, countProtected(own, 0, own.length)));
        left -= out[row]!;
        contested.push(Float64Array.from(own).sort().reverse().subarray(out[row]!));
      }
      layerTopCounts(contested, left).forEach((count, i) => {
        out[first + i]! += count;
      });
    }
  },
});
