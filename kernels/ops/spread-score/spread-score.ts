import { defineKernel, groupSize, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { checkPooling, type Pooling, pool } from "../../src/pooling.ts";
import { checkWindow, logitScale, observeRow, windowInputs } from "../../src/window-weights.ts";
import { varianceOverQueries } from "../attention-spread/variance-over-queries.ts";

export interface SpreadScoreParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  readonly window: number;
  /** Weight of the variance over the queries against their mean. */
  readonly gamma: number;
  readonly pooling: Pooling | undefined;
  readonly groupReduce: "mean" | "max";
}

/**
 * Mean plus γ × variance of the attention that the last queries pay to a token, pooled per query
 * head, then reduced over the query heads of the row. The window's own tokens score 0.
 */
export const spreadScore = defineKernel<SpreadScoreParams>({
  name: "spread-score",
  reference({ batch, out, window, gamma, pooling, groupReduce }) {
    checkWindow(batch, window);
    if (pooling) checkPooling(pooling);
    const scores = hostArray(out, "f32");
    const group = groupSize(batch.shape);
    forEachRow(batch, (row) => {
      const observed = observeRow(batch, row, window);
      const { eligible, slotOf } = observed;
      const totals = new Float64Array(eligible);
      for (let member = 0; member < group; member++) {
        const { means, variances } = varianceOverQueries(observed.weightsOf(member), observed);
        const values = means.map((mean, j) => mean + gamma * variances[j]!);
        if (pooling) pool(values, eligible, pooling);
        for (let j = 0; j < eligible; j++)
          totals[j] =
            groupReduce === "max"
              ? Math.max(totals[j]!, values[j]!)
              : totals[j]! + values[j]! / group;
      }
      scores.fill(0, row.begin, row.end);
      for (let j = 0; j < eligible; j++) scores[row.begin + slotOf(j)] = totals[j]!;
    });
  },
  native({ batch, out, window, gamma, pooling, groupReduce }) {
    checkWindow(batch, window);
    if (pooling) checkPooling(pooling);
    return {
      cache: hostOf(batch),
      inputs: windowInputs(batch),
      outputs: [out],
      integers: [
        out.length,
        batch.sequences.length,
        batch.layers.length,
        window,
        pooling === undefined ? 0 : pooling.kind === "avg" ? 1 : 2,
        pooling?.size ?? 0,
        groupReduce === "mean" ? 0 : 1,
      ],
      floats: [logitScale(batch), gamma],
    };
  },
});
