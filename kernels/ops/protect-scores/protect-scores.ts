import { defineKernel, hostArray, type KvBatch, type Protect, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";
import { protectScoresWgsl } from "./protect-scores.wgsl.ts";

export interface ProtectScoresParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], changed in place. */
  readonly scores: Tensor;
  /** What to protect; `batch.protect` when absent. */
  readonly protect?: Protect;
}

/**
 * Gives +∞ to protected tokens, by true position: below `sinks`, or within the last `recent`
 * positions before the sequence's next one. Other scores stay as they are.
 */
export const protectScores = defineKernel<ProtectScoresParams>({
  name: "protect-scores",
  reference({ batch, scores, protect = batch.protect }) {
    const values = hostArray(scores, "f32");
    forEachRow(batch, ({ view, begin, sequenceIndex }) => {
      const recentFrom = batch.nextPositions[sequenceIndex]! - protect.recent;
      const positions = gatherPositions(view);
      for (let j = 0; j < view.length; j++) {
        const position = positions[j]!;
        if (position < protect.sinks || position >= recentFrom)
          values[begin + j] = Number.POSITIVE_INFINITY;
      }
    });
  },
  wgsl: protectScoresWgsl,
});
