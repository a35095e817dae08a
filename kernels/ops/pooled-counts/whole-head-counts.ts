import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { countProtected } from "../uniform-counts/uniform-counts.ts";

export interface WholeHeadCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Scores of the heads, [numLayers × numKvHeads]; a head's best token's score when absent. */
  readonly headScores?: ArrayLike<number> | undefined;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Rows that stay whole: a ratio is a fraction of the rows, tokens are an average per row. */
export function wholeHeads(
  target: BudgetTarget,
  nextPosition: number,
  numRows: number,
  layout: CacheLayout,
): number {
  const share =
    "ratio" in target
      ? target.ratio
      : targetTokens(target, nextPosition, layout) / Math.max(1, nextPosition);
  return Math.min(numRows, Math.max(1, Math.trunc(numRows * share)));
}

/**
 * The best heads of a sequence keep every token, the others what is protected (one token at least).
 * Ties go to the earlier row.
 */
export const wholeHeadCounts = defineKernel<WholeHeadCountsParams>({
  name: "whole-head-counts",
  reference({ batch, target, scores, headScores, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const heads = batch.shape.numKvHeads;
    const rows = batch.layers.length * heads;
    for (let first = 0; first < batch.numRows; first += rows) {
      const best = Array.from({ length: rows }, (_, i) => {
        if (headScores)
          return headScores[batch.layers[Math.floor(i / heads)]! * heads + (i % heads)]!;
        const own = scoreOf.subarray(indptr[first + i]!, indptr[first + i + 1]!);
        return own.reduce(
          (most, score) => (Number.isFinite(score) && score > most ? score : most),
          Number.NEGATIVE_INFINITY,
        );
      });
      const order = [...best.keys()].sort((a, b) => best[b]! - best[a]! || a - b);
      const whole = wholeHeads(target, batch.nextPositions[first / rows]!, rows, batch.layout);
      order.forEach((row, rank) => {
        const [start, end] = [indptr[first + row]!, indptr[first + row + 1]!];
        const least = Math.max(1, countProtected(scoreOf, start, end));
        out[first + row] = rank < whole ? end - start : Math.min(end - start, least);
      });
    }
  },
});
