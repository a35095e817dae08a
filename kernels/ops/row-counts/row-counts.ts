import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";

export interface RowCountsParams {
  readonly batch: KvBatch;
  /** u32 [sequences × numLayers × numKvHeads]: tokens that a row may keep. */
  readonly wanted: Tensor;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Tokens decided before for every head of every layer: min(length, wanted), at least one. */
export const rowCounts = defineKernel<RowCountsParams>({
  name: "row-counts",
  reference({ batch, wanted, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const limits = hostArray(wanted, "u32");
    const out = hostArray(counts, "u32");
    const { numLayers, numKvHeads } = batch.shape;
    let row = 0;
    batch.sequences.forEach((_, sequence) => {
      for (const layer of batch.layers)
        for (let head = 0; head < numKvHeads; head++, row++) {
          const limit = limits[(sequence * numLayers + layer) * numKvHeads + head]!;
          out[row] = Math.min(indptr[row + 1]! - indptr[row]!, Math.max(1, limit));
        }
    });
  },
});
