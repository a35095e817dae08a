import {
  checkWholeNumber,
  type Encoder,
  type KvBatch,
  type ReadSelector,
  type Tensor,
} from "@kvcache/core";
import {
  blockBounds,
  blockIndptr,
  boundScores,
  prefixSum,
  readCounts,
  topK,
} from "@kvcache/kernels";

export interface QuestBlocksOptions {
  /** Tokens that a step reads of each row, in whole blocks. */
  readonly tokens: number;
  /** Blocks that a step reads at least. Default 3. */
  readonly minBlocks?: number;
  /** The block that the newest token lies in is always read, as one of them. Default true. */
  readonly alwaysCurrent?: boolean;
  /** First layers that read everything. Default 2. */
  readonly denseLayers?: number;
}

/** What Quest knows of a batch's blocks. */
export interface ScoredBlocks {
  /** u32 [numRows + 1]: row r has blocks indptr[r] …. */
  readonly indptr: Tensor;
  /** f32 [blocks, headDim]: channel-wise minimum and maximum of their keys. */
  readonly low: Tensor;
  readonly high: Tensor;
  /** f32 [blocks]: bound of the last query's logits, the largest over the group. */
  readonly scores: Tensor;
}

/** Records bounds and scores of all blocks of a batch. */
export function scoreBlocks(encoder: Encoder, batch: KvBatch): ScoredBlocks {
  const indptr = blockIndptr(batch);
  const blocks = indptr[batch.numRows]!;
  const low = encoder.tensor("f32", blocks * batch.shape.headDim);
  const high = encoder.tensor("f32", blocks * batch.shape.headDim);
  const scores = encoder.tensor("f32", blocks);
  encoder.run(blockBounds, { batch, low, high });
  encoder.run(boundScores, { batch, low, high, out: scores });
  return { indptr: encoder.upload(indptr), low, high, scores };
}

/**
 * Blocks whose keys could give the last query the largest logits, by the bounds of their channels.
 * Kept indices are blocks of a row, 0 …, not slots; nothing is evicted.
 * Tang et al. 2024, arXiv:2406.10774 (Quest). Throws `invalid-argument` naming the option that is out
 * of range.
 */
export function questBlocks(options: QuestBlocksOptions): ReadSelector {
  const { tokens, minBlocks = 3, alwaysCurrent = true, denseLayers = 2 } = options;
  checkWholeNumber("tokens", tokens, 1);
  checkWholeNumber("minBlocks", minBlocks, 1);
  checkWholeNumber("denseLayers", denseLayers, 0);
  return Object.freeze<ReadSelector>({
    name: "quest-blocks",
    needs: [{ kind: "windowQueries", window: 1 }, { kind: "blockBounds" }],
    selectBlocks(encoder, batch) {
      const { indptr: rowIndptr, scores } = scoreBlocks(encoder, batch);
      const counts = encoder.tensor("u32", batch.numRows);
      const rule = { alwaysCurrent, tokens, minBlocks, denseLayers };
      encoder.run(readCounts, { batch, scores, counts, ...rule });
      const indptr = encoder.tensor("u32", batch.numRows + 1);
      const indices = encoder.tensor("u32", scores.length);
      encoder.run(prefixSum, { counts, out: indptr });
      encoder.run(topK, { rowIndptr, scores, counts, indptr, indices });
      return { indptr, indices };
    },
  });
}
