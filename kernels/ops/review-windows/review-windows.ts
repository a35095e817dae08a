import { defineKernel, groupSize, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { type BatchRow, forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";

export interface ReviewWindowsParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** The first layer of every group, see {@link leadingLayers}. */
  readonly leaders: KvBatch;
  /** f32 [leaders.totalSlots × groupSize], see {@link windowSums}. */
  readonly sums: Tensor;
  /** Last positions that are not looked at. */
  readonly suffix: number;
  /** Tokens of a window: positions k × windowSize … belong to window k. */
  readonly windowSize: number;
  /** Layers that share the scores of the first of them. */
  readonly groupLayers: number;
  /** A window's score: the mean of its tokens' attention, or of the best few of each query head. */
  readonly statistic: "average" | { readonly best: number };
}

/**
 * Scores of whole windows of consecutive tokens, the same for all heads of a group of layers: what
 * the last queries pay to a window in the group's first layer. Tokens behind the review score 0.
 */
export const reviewWindows = defineKernel<ReviewWindowsParams>({
  name: "review-windows",
  reference(params) {
    const { batch, leaders, suffix, windowSize, groupLayers } = params;
    const scores = hostArray(params.out, "f32");
    const groups = new Map<string, WindowMeans>();
    const groupOf = ({ sequenceIndex, layer }: BatchRow) =>
      `${sequenceIndex} ${Math.floor(layer / groupLayers)}`;
    forEachRow(leaders, (row) => {
      const group = groupOf(row);
      const means = groups.get(group) ?? new Map();
      groups.set(group, means);
      addRow(params, row, means);
    });
    forEachRow(batch, (row) => {
      const means = groups.get(groupOf(row))!;
      const limit = batch.nextPositions[row.sequenceIndex]! - suffix;
      gatherPositions(row.view).forEach((position, slot) => {
        const mean = means.get(Math.floor(position / windowSize));
        const isReview = position < limit && mean !== undefined;
        scores[row.begin + slot] = isReview ? mean.sum / mean.count : 0;
      });
    });
  },
});

/** By window. */
type WindowMeans = Map<number, { sum: number; count: number }>;

/** Adds what a row's query heads pay to each window. */
function addRow(params: ReviewWindowsParams, row: BatchRow, means: WindowMeans): void {
  const { leaders, suffix, windowSize, statistic } = params;
  const table = hostArray(params.sums, "f32");
  const limit = leaders.nextPositions[row.sequenceIndex]! - suffix;
  const group = groupSize(leaders.shape);
  const { length } = row.view;
  const windows = new Map<number, number[]>();
  gatherPositions(row.view).forEach((position, slot) => {
    if (position >= limit) return;
    const window = Math.floor(position / windowSize);
    const slots = windows.get(window);
    if (slots) slots.push(slot);
    else windows.set(window, [slot]);
  });
  for (const [window, slots] of windows)
    for (let member = 0; member < group; member++) {
      const at = row.begin * group + member * length;
      const tokens = Float64Array.from(slots, (slot) => table[at + slot]!);
      const counted =
        statistic === "average" ? tokens : tokens.sort().reverse().subarray(0, statistic.best);
      const mean = means.get(window) ?? { sum: 0, count: 0 };
      means.set(window, {
        sum: counted.reduce((sum, value) => sum + value, mean.sum),
        count: mean.count + counted.length,
      });
    }
}
