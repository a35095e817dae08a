import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions, gatherValues } from "../../src/row-view.ts";

export interface ValueBoundParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], changed in place. */
  readonly scores: Tensor;
  /** The last `window` positions before the sequence's next one are not looked at. */
  readonly window: number;
}

/**
 * Multiplies each row's scores by the largest ‖v‖₁ of its tokens before the window: changes how rows
 * compete, never the order inside one.
 */
export const valueBound = defineKernel<ValueBoundParams>({
  name: "value-bound",
  reference({ batch, scores, window }) {
    const values = hostArray(scores, "f32");
    const { headDim } = batch.shape;
    forEachRow(batch, ({ view, begin, end, sequenceIndex }) => {
      const limit = batch.nextPositions[sequenceIndex]! - window;
      const positions = gatherPositions(view);
      const entries = gatherValues(view);
      let bound = 0;
      for (let j = 0; j < view.length; j++) {
        if (positions[j]! >= limit) continue;
        let norm = 0;
        for (let c = j * headDim; c < (j + 1) * headDim; c++) norm += Math.abs(entries[c]!);
        bound = Math.max(bound, norm);
      }
      for (let slot = begin; slot < end; slot++) values[slot] = values[slot]! * bound;
    });
  },
});
