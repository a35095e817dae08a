import { defineKernel, type KvBatch } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { slotOf } from "../../src/row-view.ts";

export interface ScaleSumsParams {
  readonly batch: KvBatch;
  /** 1 scales Σa, 2 scales Σa². */
  readonly power: 1 | 2;
  readonly factor: number;
}

/** Multiplies the side channel of every cached token, so that what it holds counts for less. */
export const scaleSums = defineKernel<ScaleSumsParams>({
  name: "scale-sums",
  reference({ batch, power, factor }) {
    forEachRow(batch, ({ view }) => {
      const sums = power === 1 ? view.arena.sumAttention : view.arena.sumSquaredAttention;
      for (let j = 0; j < view.length; j++) {
        const slot = slotOf(view, j);
        sums[slot] = sums[slot]! * factor;
      }
    });
  },
});
