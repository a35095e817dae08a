import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherSlots } from "../../src/row-view.ts";
import { readSumsWgsl } from "./read-sums.wgsl.ts";

export interface ReadSumsParams {
  readonly batch: KvBatch;
  /** 1 reads Σa, 2 reads Σa². */
  readonly power: 1 | 2;
  /** Factor on what is read. Default 1. */
  readonly scale?: number;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
}

/** The attention that every cached token has received so far, from the cache's side channel. */
export const readSums = defineKernel<ReadSumsParams>({
  name: "read-sums",
  reference({ batch, power, scale = 1, out }) {
    const scores = hostArray(out, "f32");
    forEachRow(batch, ({ view, begin }) => {
      const sums = power === 1 ? view.arena.sumAttention : view.arena.sumSquaredAttention;
      gatherSlots(view, sums, scores, begin);
    });
    if (scale === 1) return;
    for (let i = 0; i < batch.totalSlots; i++) scores[i]! *= scale;
  },
  wgsl: readSumsWgsl,
});
