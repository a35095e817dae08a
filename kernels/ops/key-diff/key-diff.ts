import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { batchInputs, forEachRow } from "../../src/batch-rows.ts";
import { gatherKeys } from "../../src/row-view.ts";
import { keyDiffWgsl } from "./key-diff.wgsl.ts";

export interface KeyDiffParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]: receives −cos(key, mean direction). */
  readonly out: Tensor;
}

/**
 * Minus the cosine between every cached key and the mean of all unit keys of its row. A key without
 * length points nowhere: it scores 0.
 */
export const keyDiff = defineKernel<KeyDiffParams>({
  name: "key-diff",
  reference({ batch, out }) {
    const scores = hostArray(out, "f32");
    const { headDim } = batch.shape;
    forEachRow(batch, ({ view, begin }) => {
      const keys = gatherKeys(view);
      const inverseNorms = new Float64Array(view.length);
      const mean = new Float64Array(headDim);
      for (let j = 0; j < view.length; j++) {
        const at = j * headDim;
        let squares = 0;
        for (let c = 0; c < headDim; c++) squares += keys[at + c]! * keys[at + c]!;
        const inverse = squares > 0 ? 1 / Math.sqrt(squares) : 0;
        for (let c = 0; c < headDim; c++) mean[c]! += keys[at + c]! * inverse;
        inverseNorms[j] = inverse;
      }
      // The cosine does not depend on the mean's length.
      const length = Math.hypot(...mean) || 1;
      for (let j = 0; j < view.length; j++) {
        let dot = 0;
        for (let c = 0; c < headDim; c++) dot += keys[j * headDim + c]! * mean[c]!;
        scores[begin + j] = -(dot * inverseNorms[j]!) / length;
      }
    });
  },
  native: ({ batch, out }) => ({
    ...(batch.host && { cache: batch.host }),
    inputs: batchInputs(batch),
    outputs: [out],
    integers: [out.length, batch.sequences.length, batch.layers.length],
    floats: [],
  }),
  wgsl: keyDiffWgsl,
});
