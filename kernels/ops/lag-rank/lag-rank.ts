import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { type BatchRow, forEachRow } from "../../src/batch-rows.ts";
import { countBelow, positionOrder } from "../../src/position-order.ts";
import { gatherKeys, gatherPositions, gatherValues } from "../../src/row-view.ts";
import { addSpread, inOrder, ranks } from "../lag-spread/lag-spread.ts";

export interface LagRankParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Positions before the first partition. */
  readonly sinks: number;
  /** Positions of a partition. */
  readonly lag: number;
}

/**
 * Ranks tokens within partitions that are fixed by position: 0 for the one that spreads most against
 * the next partition's range (see {@link lagSpread}), then −1, −2 … Tokens before the first partition,
 * in the last whole one and behind it get +∞. A partition that has lost tokens before keeps its best
 * ranks, so that cutting it down to as many again changes nothing.
 */
export const lagRank = defineKernel<LagRankParams>({
  name: "lag-rank",
  reference({ batch, out, sinks, lag }) {
    const scores = hostArray(out, "f32");
    forEachRow(batch, (row) => {
      const slots = gatherPositions(row.view);
      const order = positionOrder(slots);
      const positions = order ? slots.map((_, j) => slots[order[j]!]!) : slots;
      const whole = Math.floor((batch.nextPositions[row.sequenceIndex]! - sinks) / lag);
      const starts = Array.from({ length: Math.max(1, whole + 1) }, (_, partition) =>
        countBelow(positions, sinks + partition * lag),
      );
      const byPosition = rowScores(row, order, starts, batch.shape.headDim);
      for (let j = 0; j < byPosition.length; j++)
        scores[row.begin + (order ? order[j]! : j)] = byPosition[j]!;
    });
  },
});

/** Scores in position order; partition i has tokens starts[i] … starts[i + 1]. */
function rowScores(
  { view }: BatchRow,
  order: Uint32Array | undefined,
  starts: readonly number[],
  width: number,
): Float64Array {
  const out = new Float64Array(view.length).fill(Number.POSITIVE_INFINITY);
  if (starts.length < 3) return out;
  const sides = [gatherKeys(view), gatherValues(view)].map((entries) =>
    order ? inOrder(entries, order, width) : entries,
  );
  for (let i = 0; i + 2 < starts.length; i++) {
    const [first, next, end] = [starts[i]!, starts[i + 1]!, starts[i + 2]!];
    const spread = new Float64Array(next - first);
    if (next < end)
      for (const entries of sides) addSpread(entries, { first, next, end }, width, spread);
    ranks(spread).forEach((rank, j) => {
      out[first + j] = rank - (spread.length - 1);
    });
  }
  return out;
}
