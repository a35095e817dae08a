import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { slotOf } from "../../src/row-view.ts";
import { addSumsWgsl } from "./add-sums.wgsl.ts";

export interface AddSumsParams {
  readonly batch: KvBatch;
  /** 1 adds to Σa, 2 adds to Σa². */
  readonly power: 1 | 2;
  /** f32 [batch.totalSlots]. */
  readonly values: Tensor;
}

/** Adds one number to the side channel of every cached token. */
export const addSums = defineKernel<AddSumsParams>({
  name: "add-sums",
  reference({ batch, power, values }) {
    const amounts = hostArray(values, "f32");
    forEachRow(batch, ({ view, begin }) => {
      const sums = power === 1 ? view.arena.sumAttention : view.arena.sumSquaredAttention;
      for (let j = 0; j < view.length; j++) {
        const slot = slotOf(view, j);
        sums[slot] = sums[slot]! + amounts[begin + j]!;
      }
    });
  },
  wgsl: addSumsWgsl,
});
