import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";
import { raiseRecentWgsl } from "./raise-recent.wgsl.ts";

export interface RaiseRecentParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly scores: Tensor;
  /** u32 [batch.numRows]: tokens that each row keeps. */
  readonly counts: Tensor;
  /** Part of a row's count that its last tokens take, in [0, 1]. */
  readonly share: number;
  /** f32 [batch.totalSlots]: the scores, +∞ for those last tokens. */
  readonly out: Tensor;
}

/** Lets the last ⌊share × count⌋ tokens of every row win, whatever they score. */
export const raiseRecent = defineKernel<RaiseRecentParams>({
  name: "raise-recent",
  reference({ batch, scores, counts, share, out }) {
    const raised = hostArray(out, "f32");
    raised.set(hostArray(scores, "f32"));
    const countOf = hostArray(counts, "u32");
    forEachRow(batch, ({ row, view, begin }) => {
      const recent = Math.min(view.length, Math.trunc(share * countOf[row]!));
      if (recent === 0) return;
      const positions = gatherPositions(view);
      const from = positions.slice().sort()[view.length - recent]!;
      for (let j = 0; j < view.length; j++)
        if (positions[j]! >= from) raised[begin + j] = Number.POSITIVE_INFINITY;
    });
  },
  wgsl: raiseRecentWgsl,
});
