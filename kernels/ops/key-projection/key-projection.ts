import { defineKernel, hostArray, hostTensor, type KvBatch, type Tensor } from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { gatherKeys } from "../../src/row-view.ts";

export interface KeyProjectionParams {
  readonly batch: KvBatch;
  /** One direction for every row of a sequence, f32 [numLayers, numKvHeads, headDim]. */
  readonly directions: Float32Array;
  /** f32 [batch.totalSlots]: receives −⟨direction, key⟩. */
  readonly out: Tensor;
}

/** Minus the projection of every cached key onto its head's direction. */
export const keyProjection = defineKernel<KeyProjectionParams>({
  name: "key-projection",
  reference({ batch, directions, out }) {
    const scores = hostArray(out, "f32");
    const { headDim, numKvHeads } = batch.shape;
    forEachRow(batch, ({ view, layer, head, begin }) => {
      const keys = gatherKeys(view);
      const from = (layer * numKvHeads + head) * headDim;
      for (let j = 0, at = 0; j < view.length; j++) {
        let dot = 0;
        for (let c = 0; c < headDim; c++, at++) dot += keys[at]! * directions[from + c]!;
        scores[begin + j] = -dot;
      }
    });
  },
  native: ({ batch, directions, out }) => ({
    cache: hostOf(batch),
    inputs: [...batchInputs(batch), hostTensor(directions)],
    outputs: [out],
    integers: [out.length, batch.sequences.length, batch.layers.length],
    floats: [],
  }),
});
