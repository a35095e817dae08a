import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";

export interface LevelCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Keeps the tokens above one threshold for all rows of a sequence, the lowest that its target allows:
 * tokens of equal scores go or stay together, so that less than the target may be kept. Every row
 * keeps its protected tokens, or one.
 */
export const levelCounts = defineKernel<LevelCountsParams>({
  name: "level-counts",
  reference({ batch, target, scores, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const rows = batch.layers.length * batch.shape.numKvHeads;
    batch.nextPositions.forEach((nextPosition, sequence) => {
      const own = indptr.subarray(sequence * rows, (sequence + 1) * rows + 1);
      const limit = rows * rowTokens(target, nextPosition, batch.layout);
      out.set(countsUpTo(limit, scoreOf, own), sequence * rows);
    });
  },
});

/** Tokens per row that a target allows; a ratio's are not rounded, for rows share them. */
export const rowTokens = (
  target: BudgetTarget,
  nextPosition: number,
  layout: CacheLayout,
): number =>
  "ratio" in target ? nextPosition * target.ratio : targetTokens(target, nextPosition, layout);

function countsUpTo(limit: number, scores: Float32Array, indptr: Uint32Array): Uint32Array {
  const counts = new Uint32Array(indptr.length - 1);
  /** Tokens by score, then by row. */
  const levels = new Map<number, Uint32Array>();
  counts.forEach((_, row) => {
    for (let slot = indptr[row]!; slot < indptr[row + 1]!; slot++) {
      const score = scores[slot]!;
      const level = levels.get(score) ?? new Uint32Array(counts.length);
      level[row]!++;
      levels.set(score, level);
    }
    counts[row] = levels.get(Number.POSITIVE_INFINITY)?.[row] ?? 0;
  });
  levels.delete(Number.POSITIVE_INFINITY);
  for (const score of [...levels.keys()].sort((a, b) => b - a)) {
    const level = levels.get(score)!;
    let total = 0;
    counts.forEach((count, row) => {
      total += Math.max(1, count + level[row]!);
    });
    if (total > limit) break;
    counts.forEach((count, row) => {
      counts[row] = count + level[row]!;
    });
  }
  return counts.map((count) => Math.max(1, count));
}
