import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { countProtected } from "../uniform-counts/uniform-counts.ts";

export interface ThresholdCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Scores below it go; undefined = none is too low. */
  readonly threshold: number | undefined;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Tokens of a row that score at least the threshold, no more than the target allows beside what is
 * protected, and at least one.
 */
export const thresholdCounts = defineKernel<ThresholdCountsParams>({
  name: "threshold-counts",
  reference({ batch, target, scores, threshold = Number.NEGATIVE_INFINITY, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const rowsPerSequence = batch.layers.length * batch.shape.numKvHeads;
    for (let row = 0; row < batch.numRows; row++) {
      const nextPosition = batch.nextPositions[Math.floor(row / rowsPerSequence)]!;
      const [start, end] = [indptr[row]!, indptr[row + 1]!];
      const most = Math.max(
        targetTokens(target, nextPosition, batch.layout),
        countProtected(scoreOf, start, end),
      );
      let count = 0;
      for (let slot = start; slot < end; slot++) if (scoreOf[slot]! >= threshold) count++;
      out[row] = Math.min(end - start, Math.max(1, Math.min(count, most)));
    }
  },
});
