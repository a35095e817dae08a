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

export interface AboveRankCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Tokens that `numRows` rows keep beside `numProtected` protected ones each: a ratio is a fraction
 * of what is not protected.
 */
export function unprotectedTokens(
  target: BudgetTarget,
  nextPosition: number,
  numRows: number,
  numProtected: number,
  layout: CacheLayout,
): number {
  if ("ratio" in target)
    return Math.trunc(numRows * Math.max(0, nextPosition - numProtected) * target.ratio);
  return numRows * Math.max(0, targetTokens(target, nextPosition, layout) - numProtected);
}

/**
 * Tokens that score strictly above the value at the rank that the target stands for, over all rows
 * of a sequence: the entry at that rank, and what ties with it, goes. Protected tokens stay beside
 * them and do not count; every row keeps one token. A ratio of 1 keeps all.
 */
export const aboveRankCounts = defineKernel<AboveRankCountsParams>({
  name: "above-rank-counts",
  reference({ batch, target, scores, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const { sinks, recent } = batch.protect;
    const rows = batch.layers.length * batch.shape.numKvHeads;
    for (let first = 0; first < batch.numRows; first += rows) {
      const nextPosition = batch.nextPositions[first / rows]!;
      const tokens = unprotectedTokens(target, nextPosition, rows, sinks + recent, batch.layout);
      const contested = scoreOf
        .slice(indptr[first]!, indptr[first + rows]!)
        .filter((score) => score !== Number.POSITIVE_INFINITY)
        .sort()
        .reverse();
      const all = ("ratio" in target && target.ratio === 1) || tokens > contested.length;
      const threshold = all ? Number.NEGATIVE_INFINITY : contested[Math.max(0, tokens - 1)]!;
      for (let row = first; row < first + rows; row++) {
        const own = scoreOf.subarray(indptr[row]!, indptr[row + 1]!);
        let count = 0;
        for (const score of own) if (score > threshold) count++;
        out[row] = Math.min(own.length, Math.max(1, count));
      }
    }
  },
});

/** The same number of unprotected tokens in every row, ⌊what is not protected × ratio⌋. */
export const unprotectedCounts = defineKernel<AboveRankCountsParams>({
  name: "unprotected-counts",
  reference({ batch, target, scores, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const { sinks, recent } = batch.protect;
    const rowsPerSequence = batch.layers.length * batch.shape.numKvHeads;
    for (let row = 0; row < batch.numRows; row++) {
      const nextPosition = batch.nextPositions[Math.floor(row / rowsPerSequence)]!;
      const [start, end] = [indptr[row]!, indptr[row + 1]!];
      const tokens = unprotectedTokens(target, nextPosition, 1, sinks + recent, batch.layout);
      const kept = countProtected(scoreOf, start, end) + tokens;
      out[row] = Math.min(end - start, Math.max(1, kept));
    }
  },
});
