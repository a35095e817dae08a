import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { batchPositions } from "../layer-chunks/batch-positions.ts";

export interface HeadMeansParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
}

/**
 * The mean score of a token over the KV heads of a layer that hold it, for every one of them. What
 * one head protects, +∞, all of them do.
 */
export const headMeans = defineKernel<HeadMeansParams>({
  name: "head-means",
  reference({ batch, scores, out }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const means = hostArray(out, "f32");
    const positions = batchPositions(batch);
    const heads = batch.shape.numKvHeads;
    for (let first = 0; first < batch.numRows; first += heads) {
      const next = batch.nextPositions[Math.floor(first / heads / batch.layers.length)]!;
      const [begin, end] = [indptr[first]!, indptr[first + heads]!];
      const sums = new Float64Array(next);
      const holders = new Uint32Array(next);
      for (let slot = begin; slot < end; slot++) {
        sums[positions[slot]!]! += scoreOf[slot]!;
        holders[positions[slot]!]!++;
      }
      for (let slot = begin; slot < end; slot++)
        means[slot] = sums[positions[slot]!]! / holders[positions[slot]!]!;
    }
  },
});
