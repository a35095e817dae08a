import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { batchInputs, forEachRow } from "../../src/batch-rows.ts";
import { gatherKeys } from "../../src/row-view.ts";
import { keyNormWgsl } from "./key-norm.wgsl.ts";

export interface KeyNormParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]: receives −‖key‖₂. */
  readonly out: Tensor;
}

/** Minus the Euclidean norm of every cached key, so that small keys score high. */
export const keyNorm = defineKernel<KeyNormParams>({
  name: "key-norm",
  reference({ batch, out }) {
    const scores = hostArray(out, "f32");
    const { headDim } = batch.shape;
    forEachRow(batch, ({ view, begin }) => {
      const keys = gatherKeys(view);
      for (let j = 0; j < view.length; j++) {
        let squares = 0;
        for (let c = j * headDim; c < (j + 1) * headDim; c++) squares += keys[c]! * keys[c]!;
        scores[begin + j] = -Math.sqrt(squares);
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
  wgsl: keyNormWgsl,
});
