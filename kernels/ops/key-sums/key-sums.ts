import { defineKernel, type KvBatch } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";
import { unrotation } from "../../src/unrotation.ts";

export interface KeySumsParams {
  /** Of one sequence and a known model. */
  readonly batch: KvBatch;
  /** Keys at this position and behind it count. */
  readonly from: number;
  /** f64 [numLayers × numKvHeads, headDim]: keys before RoPE are added to it. */
  readonly sums: Float64Array;
}

/** Adds up the keys before RoPE of every row. */
export const keySums = defineKernel<KeySumsParams>({
  name: "key-sums",
  reference({ batch, from, sums }) {
    const { numKvHeads, headDim } = batch.shape;
    const beforeRope = unrotation(batch);
    forEachRow(batch, (row) => {
      const keys = beforeRope(row);
      const positions = gatherPositions(row.view);
      const own = (row.layer * numKvHeads + row.head) * headDim;
      for (let j = 0; j < positions.length; j++)
        if (positions[j]! >= from)
          for (let c = 0; c < headDim; c++) sums[own + c]! += keys[j * headDim + c]!;
    });
  },
});
