import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { countProtected } from "../uniform-counts/uniform-counts.ts";
import { layerShares } from "./layer-shares.ts";
import { pyramidCountsWgsl } from "./pyramid-counts.wgsl.ts";
import type { PyramidSchedule } from "./pyramid-schedule.ts";

export interface PyramidCountsParams extends Pick<PyramidSchedule, "beta" | "rule"> {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** A row keeps at least its protected slots, also where its layer's share is smaller. */
  readonly keepProtected: boolean;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Tokens for every row by a schedule over the layers: min(length, share of the layer). */
export const pyramidCounts = defineKernel<PyramidCountsParams>({
  name: "pyramid-counts",
  reference(params) {
    const { batch, scores, keepProtected, counts } = params;
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const heads = batch.shape.numKvHeads;
    const rowsPerSequence = heads * batch.layers.length;
    batch.nextPositions.forEach((_, sequence) => {
      const first = sequence * rowsPerSequence;
      const shares = layerShares(params, indptr, sequence);
      for (let row = first; row < first + rowsPerSequence; row++) {
        const [start, end] = [indptr[row]!, indptr[row + 1]!];
        const layer = batch.layers[Math.floor((row - first) / heads)]!;
        const least = keepProtected ? countProtected(scoreOf, start, end) : 1;
        out[row] = Math.min(end - start, Math.max(1, least, shares[layer]!));
      }
    });
  },
  wgsl: pyramidCountsWgsl,
});
