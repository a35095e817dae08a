import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";

export interface LagCountsParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]: places within partitions, 0, −1, −2 …; +∞ for what stays anyway. */
  readonly scores: Tensor;
  /** Tokens that a partition keeps, for each sequence. */
  readonly perPartition: readonly number[];
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Counts the tokens whose place is among the first of their partition; at least one a row. */
export const lagCounts = defineKernel<LagCountsParams>({
  name: "lag-counts",
  reference({ batch, scores, perPartition, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const places = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const rows = batch.layers.length * batch.shape.numKvHeads;
    for (let row = 0; row < batch.numRows; row++) {
      const kept = perPartition[Math.floor(row / rows)]!;
      let count = 0;
      for (let slot = indptr[row]!; slot < indptr[row + 1]!; slot++)
        if (places[slot]! > -kept) count++;
      out[row] = Math.min(indptr[row + 1]! - indptr[row]!, Math.max(1, count));
    }
  },
});
