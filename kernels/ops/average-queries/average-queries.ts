import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";

export interface AverageQueriesParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], changed in place: sums over queries become their means. */
  readonly values: Tensor;
  /** Queries that were summed, the last ones of a sequence; all of them when absent. */
  readonly queries?: number | undefined;
}

/** Divides by the number of queries that could see a token: those from its own position on. */
export const averageQueries = defineKernel<AverageQueriesParams>({
  name: "average-queries",
  reference({ batch, values, queries = Number.POSITIVE_INFINITY }) {
    const sums = hostArray(values, "f32");
    forEachRow(batch, ({ view, begin, sequenceIndex }) => {
      const next = batch.nextPositions[sequenceIndex]!;
      const counted =
        queries === Number.POSITIVE_INFINITY
          ? queries
          : Math.min(queries, batch.windowLengths[sequenceIndex]!);
      const positions = gatherPositions(view);
      for (let j = 0; j < view.length; j++)
        sums[begin + j]! /= Math.min(counted, next - positions[j]!);
    });
  },
});
