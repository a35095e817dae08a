import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { countProtected } from "../uniform-counts/uniform-counts.ts";
import { type PyramidSchedule, pyramidSchedule } from "./pyramid-schedule.ts";

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
  reference({ batch, target, scores, beta, rule, keepProtected, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const { sinks, recent } = batch.protect;
    const heads = batch.shape.numKvHeads;
    const rowsPerSequence = heads * batch.layers.length;
    batch.nextPositions.forEach((nextPosition, sequence) => {
      const first = sequence * rowsPerSequence;
      let length = 0;
      for (let row = first; row < first + rowsPerSequence; row++)
        length = Math.max(length, indptr[row + 1]! - indptr[row]!);
      const shares = pyramidSchedule({
        tokens: meanTokens(target, nextPosition, batch.layout, rule),
        length,
        window: sinks + recent,
        numLayers: batch.shape.numLayers,
        beta,
        rule,
      });
      for (let row = first; row < first + rowsPerSequence; row++) {
        const [start, end] = [indptr[row]!, indptr[row + 1]!];
        const layer = batch.layers[Math.floor((row - first) / heads)]!;
        const least = keepProtected ? countProtected(scoreOf, start, end) : 1;
        out[row] = Math.min(end - start, Math.max(1, least, shares[layer]!));
      }
    });
  },
});

/** Mean tokens per row that a target stands for: kvpress does not round a ratio's before it splits. */
export const meanTokens = (
  target: BudgetTarget,
  nextPosition: number,
  layout: CacheLayout,
  rule: PyramidSchedule["rule"],
): number =>
  "ratio" in target && rule === "kvpress"
    ? nextPosition * target.ratio
    : targetTokens(target, nextPosition, layout);
