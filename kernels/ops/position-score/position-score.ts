import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";
import { positionScoreWgsl } from "./position-score.wgsl.ts";

export interface PositionScoreParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]: receives the position; exact below 2²⁴. */
  readonly out: Tensor;
}

/** The position of every cached token, so that later ones score higher. */
export const positionScore = defineKernel<PositionScoreParams>({
  name: "position-score",
  reference({ batch, out }) {
    const scores = hostArray(out, "f32");
    forEachRow(batch, ({ view, begin }) => scores.set(gatherPositions(view), begin));
  },
  wgsl: positionScoreWgsl,
});
