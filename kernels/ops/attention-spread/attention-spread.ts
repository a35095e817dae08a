import { defineKernel, groupSize, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { checkWindow, logitScale, observeRow, windowInputs } from "../../src/window-weights.ts";
import { varianceOverQueries } from "./variance-over-queries.ts";

export interface AttentionSpreadParams {
  readonly batch: KvBatch;
  readonly window: number;
  /** f32 [sequences × layers of the batch]: −Σ a ln(a + 1e-10) over query heads, queries, tokens. */
  readonly dispersion: Tensor;
  /** f32 [sequences × layers of the batch]: variance over the queries, summed over heads and tokens. */
  readonly shift: Tensor;
}

/**
 * How wide a layer's attention is spread over tokens, and how far it moves from query to query: of
 * the last queries on all tokens before them.
 */
export const attentionSpread = defineKernel<AttentionSpreadParams>({
  name: "attention-spread",
  reference({ batch, window, dispersion, shift }) {
    checkWindow(batch, window);
    const dispersions = hostArray(dispersion, "f32");
    const shifts = hostArray(shift, "f32");
    const { numKvHeads } = batch.shape;
    const entropy = new Float64Array(dispersions.length);
    const moved = new Float64Array(shifts.length);
    forEachRow(batch, (row) => {
      const layer = Math.floor(row.row / numKvHeads);
      const observed = observeRow(batch, row, window);
      const { eligible, length, numQueries } = observed;
      for (let member = 0; member < groupSize(batch.shape); member++) {
        const weights = observed.weightsOf(member);
        let sum = 0;
        for (let i = 0; i < numQueries; i++)
          for (let j = i * length; j < i * length + eligible; j++) {
            const weight = weights[j]!;
            sum -= weight * Math.log(weight + 1e-10);
          }
        entropy[layer] = entropy[layer]! + sum;
        for (const variance of varianceOverQueries(weights, observed).variances)
          moved[layer] = moved[layer]! + variance;
      }
    });
    dispersions.set(entropy);
    shifts.set(moved);
  },
  native({ batch, window, dispersion, shift }) {
    checkWindow(batch, window);
    return {
      cache: hostOf(batch),
      inputs: windowInputs(batch),
      outputs: [dispersion, shift],
      integers: [
        dispersion.length,
        shift.length,
        batch.sequences.length,
        batch.layers.length,
        window,
      ],
      floats: [logitScale(batch)],
    };
  },
});
