import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { uniformCountsWgsl } from "./uniform-counts.wgsl.ts";

export interface UniformCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** A row keeps at least its protected slots, also where the target asks for fewer. */
  readonly keepProtected: boolean;
  /** Layers whose rows keep everything. Default none. */
  readonly skipLayers?: readonly number[];
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** The same number of tokens for every row: min(length, tokens of the target), at least one. */
export const uniformCounts = defineKernel<UniformCountsParams>({
  name: "uniform-counts",
  reference({ batch, target, scores, keepProtected, skipLayers = [], counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const heads = batch.shape.numKvHeads;
    const rowsPerSequence = batch.layers.length * heads;
    for (let row = 0; row < batch.numRows; row++) {
      const nextPosition = batch.nextPositions[Math.floor(row / rowsPerSequence)]!;
      const tokens = Math.max(1, targetTokens(target, nextPosition, batch.layout));
      const [start, end] = [indptr[row]!, indptr[row + 1]!];
      const least = keepProtected ? countProtected(scoreOf, start, end) : 0;
      const layer = batch.layers[Math.floor((row % rowsPerSequence) / heads)]!;
      const skipped = skipLayers.includes(layer);
      out[row] = skipped ? end - start : Math.min(end - start, Math.max(tokens, least));
    }
  },
  wgsl: uniformCountsWgsl,
});

/** Entries of scores[start … end) that are +∞. */
export function countProtected(scores: ArrayLike<number>, start: number, end: number): number {
  let count = 0;
  for (let slot = start; slot < end; slot++) if (scores[slot] === Number.POSITIVE_INFINITY) count++;
  return count;
}
