import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";

export interface LazyLayersParams {
  readonly batch: KvBatch;
  /**
   * f32 [batch.totalSlots]: mean attention of the last `last` queries over the query heads of a
   * group, that to their own tokens left out.
   */
  readonly attention: Tensor;
  /** First tokens that a lazy layer looks at. */
  readonly sinks: number;
  /** Last tokens that it looks at, not counting the last `last`. */
  readonly recent: number;
  readonly last: number;
  /** A layer whose score is above it is lazy; 1 or more: none is. */
  readonly threshold: number;
  /** f32 [sequences × layers of the batch]: part of the attention on sinks and recent tokens. */
  readonly lazyScores: Tensor;
  /** u32 [batch.numRows]: sinks + recent − last in lazy layers, everything in the others. */
  readonly counts: Tensor;
}

/** Finds the layers that look at both ends of the context only, and cuts their rows down to those. */
export const lazyLayers = defineKernel<LazyLayersParams>({
  name: "lazy-layers",
  reference({ batch, attention, sinks, recent, last, threshold, ...out }) {
    const weights = hostArray(attention, "f32");
    const lazyScores = hostArray(out.lazyScores, "f32");
    const counts = hostArray(out.counts, "u32");
    const { numKvHeads } = batch.shape;
    const lengths: number[] = [];
    let mass = 0;
    forEachRow(batch, ({ row, view, begin, head, sequenceIndex }) => {
      const next = batch.nextPositions[sequenceIndex]!;
      const positions = gatherPositions(view);
      for (let j = 0; j < view.length; j++) {
        const position = positions[j]!;
        if (position < sinks || position >= next - last - recent) mass += weights[begin + j]!;
      }
      lengths.push(view.length);
      if (head < numKvHeads - 1) return;
      const layer = Math.floor(row / numKvHeads);
      const score = mass / numKvHeads;
      lazyScores[layer] = score;
      const lazy = threshold < 1 && score > threshold;
      lengths.forEach((length, i) => {
        const short = length <= sinks + recent + last;
        const kept = lazy && !short ? sinks + recent - last : length;
        counts[layer * numKvHeads + i] = Math.max(1, kept);
      });
      lengths.length = 0;
      mass = 0;
    });
  },
});
