import { defineKernel, hostArray, type KvBatch, type Protect, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { pool } from "../../src/pooling.ts";
import { positionOrder } from "../../src/position-order.ts";
import { gatherPositions, gatherValues } from "../../src/row-view.ts";
import { standardize } from "../../src/standardize.ts";

export interface ReceivedScoreParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Attention that the token at a position of a row received. */
  readonly received: (sequenceIndex: number, layer: number, head: number, p: number) => number;
  /** Tokens at both ends that take no part and score +∞. */
  readonly ends: Protect;
}

/**
 * Attention received × norm of the value, averaged with both neighbours (zeros beyond the ends),
 * standardised over all rows of a layer.
 */
export const receivedScore = defineKernel<ReceivedScoreParams>({
  name: "received-score",
  reference({ batch, out, received, ends }) {
    const scores = hostArray(out, "f32");
    const indptr = hostArray(batch.rowIndptr, "u32");
    const { headDim, numKvHeads } = batch.shape;
    forEachRow(batch, ({ row, sequenceIndex, layer, head, begin, end, view }) => {
      const positions = gatherPositions(view);
      const values = gatherValues(view);
      const order = positionOrder(positions) ?? positions.keys();
      const last = batch.nextPositions[sequenceIndex]! - ends.recent;
      const inside: number[] = [];
      for (const slot of order)
        if (positions[slot]! >= ends.sinks && positions[slot]! < last) inside.push(slot);
      const own = Float64Array.from(inside, (slot) => {
        let squares = 0;
        for (let c = slot * headDim; c < (slot + 1) * headDim; c++) squares += values[c]! ** 2;
        return received(sequenceIndex, layer, head, positions[slot]!) * Math.sqrt(squares);
      });
      pool(own, own.length, { kind: "avg", size: 3 });
      const rowScores = scores.subarray(begin, end).fill(Number.POSITIVE_INFINITY);
      inside.forEach((slot, j) => {
        rowScores[slot] = own[j]!;
      });
      if (head === numKvHeads - 1) standardize(scores.subarray(indptr[row - head]!, end));
    });
  },
});
