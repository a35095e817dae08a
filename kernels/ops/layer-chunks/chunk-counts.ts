import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { countProtected } from "../uniform-counts/uniform-counts.ts";
import { batchPositions } from "./batch-positions.ts";
import { layerChunks } from "./layer-chunks.ts";

export interface ChunkCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Positions of a chunk. */
  readonly chunk: number;
  /** A row keeps at least its protected slots, also where a ratio asks for fewer. */
  readonly keepProtected: boolean;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Chunks of a sequence that a ratio keeps, in float64; the last, shorter chunk counts as one. */
export const chunksForRatio = (length: number, chunk: number, ratio: number): number =>
  Math.max(1, Math.trunc(Math.ceil(length / chunk) * ratio));

/**
 * Tokens of the best whole chunks of every layer, as many chunks as a ratio keeps of them. Without a
 * whole chunk, and for targets in tokens or bytes, the same number for every row.
 */
export const chunkCounts = defineKernel<ChunkCountsParams>({
  name: "chunk-counts",
  reference({ batch, target, scores, chunk, keepProtected, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const positions = batchPositions(batch);
    const numHeads = batch.shape.numKvHeads;
    for (let first = 0; first < batch.numRows; first += numHeads) {
      const nextPosition = batch.nextPositions[Math.floor(first / numHeads / batch.layers.length)]!;
      const even = Math.max(1, targetTokens(target, nextPosition, batch.layout));
      let kept: Uint8Array | undefined;
      if ("ratio" in target && nextPosition >= chunk) {
        const slots = [indptr[first]!, indptr[first + numHeads]!] as const;
        const layer = {
          positions: positions.subarray(...slots),
          scores: scoreOf.subarray(...slots),
        };
        const { chunks } = layerChunks({ ...layer, numHeads, nextPosition }, chunk);
        kept = new Uint8Array(nextPosition);
        for (const { start, end } of chunks.slice(
          0,
          chunksForRatio(nextPosition, chunk, target.ratio),
        ))
          kept.fill(1, start, end);
      }
      for (let row = first; row < first + numHeads; row++) {
        const [begin, end] = [indptr[row]!, indptr[row + 1]!];
        let count = kept ? 0 : even;
        if (kept) for (let slot = begin; slot < end; slot++) count += kept[positions[slot]!]!;
        const least = keepProtected ? countProtected(scoreOf, begin, end) : 0;
        out[row] = Math.min(end - begin, Math.max(1, count, least));
      }
    }
  },
});
