import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";

export interface CopyLayersParams {
  readonly batch: KvBatch;
  /** Layers whose rows are copied. */
  readonly layers: readonly number[];
  /** u32 [batch.numRows]. */
  readonly from: Tensor;
  /** u32 [batch.numRows]; rows of other layers stay. */
  readonly to: Tensor;
}

/** Copies one number per row, for the rows of some layers. */
export const copyLayers = defineKernel<CopyLayersParams>({
  name: "copy-layers",
  reference({ batch, layers, from, to }) {
    const source = hostArray(from, "u32");
    const target = hostArray(to, "u32");
    const { numKvHeads } = batch.shape;
    for (let row = 0; row < batch.numRows; row++) {
      const layer = batch.layers[Math.floor(row / numKvHeads) % batch.layers.length]!;
      if (layers.includes(layer)) target[row] = source[row]!;
    }
  },
});
