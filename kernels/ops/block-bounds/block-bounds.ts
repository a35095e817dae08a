import {
  blocksFor,
  defineKernel,
  groupSize,
  hostArray,
  indptrOf,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { gatherKeys } from "../../src/row-view.ts";

/** Blocks of every row of a batch: row r has blocks indptr[r] … indptr[r + 1] − 1. */
export function blockIndptr(batch: KvBatch): Uint32Array {
  const counts: number[] = [];
  forEachRow(batch, ({ view }) => {
    counts.push(blocksFor(view.length, view.arena.layout.blockSize));
  });
  return indptrOf(counts);
}

export interface BlockBoundsParams {
  readonly batch: KvBatch;
  /** f32 [blocks, headDim] of all rows, one after another: channel-wise minimum of a block's keys. */
  readonly low: Tensor;
  /** Likewise their maximum. */
  readonly high: Tensor;
}

/** Channel-wise minimum and maximum of the keys of every block of every row. */
export const blockBounds = defineKernel<BlockBoundsParams>({
  name: "block-bounds",
  reference({ batch, low, high }) {
    const { headDim } = batch.shape;
    const [lows, highs] = [hostArray(low, "f32"), hostArray(high, "f32")];
    lows.fill(Number.POSITIVE_INFINITY);
    highs.fill(Number.NEGATIVE_INFINITY);
    let first = 0;
    forEachRow(batch, ({ view }) => {
      const { blockSize } = view.arena.layout;
      gatherKeys(view).forEach((value, i) => {
        const block = first + Math.floor(i / headDim / blockSize);
        const at = block * headDim + (i % headDim);
        if (value < lows[at]!) lows[at] = value;
        if (value > highs[at]!) highs[at] = value;
      });
      first += blocksFor(view.length, blockSize);
    });
  },
});

export interface BoundScoresParams extends BlockBoundsParams {
  /** f32 [blocks]. */
  readonly out: Tensor;
}

/**
 * Upper bound of the logits that the last recorded query gives to any key of a block: the largest
 * over the group of Σ max(q × low, q × high), not scaled.
 */
export const boundScores = defineKernel<BoundScoresParams>({
  name: "bound-scores",
  reference({ batch, low, high, out }) {
    const { windowQueries, windowSize } = hostOf(batch);
    const { numLayers, numQueryHeads, headDim } = batch.shape;
    const perGroup = groupSize(batch.shape);
    const [lows, highs] = [hostArray(low, "f32"), hostArray(high, "f32")];
    const scores = hostArray(out, "f32");
    const indptr = blockIndptr(batch);
    forEachRow(batch, ({ row, sequence, sequenceIndex, layer, head }) => {
      const ring = (batch.nextPositions[sequenceIndex]! - 1) % windowSize;
      const queries = ((sequence * numLayers + layer) * windowSize + ring) * numQueryHeads;
      for (let block = indptr[row]!; block < indptr[row + 1]!; block++) {
        let most = Number.NEGATIVE_INFINITY;
        for (let member = 0; member < perGroup; member++) {
          const query = (queries + head * perGroup + member) * headDim;
          let bound = 0;
          for (let c = 0; c < headDim; c++) {
            const q = windowQueries[query + c]!;
            const at = block * headDim + c;
            bound += Math.max(q * lows[at]!, q * highs[at]!);
          }
          most = Math.max(most, bound);
        }
        scores[block] = most;
      }
    });
  },
});

export interface ReadCountsParams {
  readonly batch: KvBatch;
  /** f32 [blocks], changed in place: +∞ for a row's last block if it is always read. */
  readonly scores: Tensor;
  readonly alwaysCurrent: boolean;
  /** Tokens that a row's step reads. */
  readonly tokens: number;
  readonly minBlocks: number;
  /** Layers below it read everything. */
  readonly denseLayers: number;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Blocks that each row reads: ⌊min(tokens, length) ÷ blockSize⌋, at least `minBlocks`. With
 * `alwaysCurrent`, a row that is no longer than `tokens` is read whole.
 */
export const readCounts = defineKernel<ReadCountsParams>({
  name: "read-counts",
  reference({ batch, scores, alwaysCurrent, tokens, minBlocks, denseLayers, counts }) {
    const out = hostArray(counts, "u32");
    const scoreOf = hostArray(scores, "f32");
    const indptr = blockIndptr(batch);
    forEachRow(batch, ({ row, view, layer }) => {
      const { length, arena } = view;
      const blocks = indptr[row + 1]! - indptr[row]!;
      const whole = alwaysCurrent && tokens >= length;
      const wanted = Math.floor(Math.min(tokens, length) / arena.layout.blockSize);
      out[row] =
        whole || layer < denseLayers ? blocks : Math.min(blocks, Math.max(minBlocks, wanted));
      if (alwaysCurrent && blocks > 0) scoreOf[indptr[row + 1]! - 1] = Number.POSITIVE_INFINITY;
    });
  },
});
