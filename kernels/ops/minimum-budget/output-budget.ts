import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherValues } from "../../src/row-view.ts";

export interface OutputBudgetParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], not negative: weights of the row's values in its output. */
  readonly importance: Tensor;
  /** Cosine that the output must reach, in (0, 1]. */
  readonly similarity: number;
  /** f32 [batch.numRows]. */
  readonly out: Tensor;
}

/**
 * Tokens, the dearest first, whose weighted sum of values points where that of the whole row does:
 * the fewest whose cosine reaches `similarity`, to a millionth.
 */
export const outputBudget = defineKernel<OutputBudgetParams>({
  name: "output-budget",
  reference({ batch, importance, similarity, out }) {
    const weights = hostArray(importance, "f32");
    const budgets = hostArray(out, "f32");
    const { headDim } = batch.shape;
    forEachRow(batch, ({ row, begin, end, view }) => {
      const values = gatherValues(view);
      const own = weights.subarray(begin, end);
      const order = [...own.keys()].sort((a, b) => own[b]! - own[a]! || a - b);
      const addTo = (output: Float64Array, slot: number) => {
        for (let c = 0; c < headDim; c++)
          output[c] = output[c]! + own[slot]! * values[slot * headDim + c]!;
      };
      const full = new Float64Array(headDim);
      for (const slot of order) addTo(full, slot);
      const partial = new Float64Array(headDim);
      let tokens = 0;
      while (tokens < order.length) {
        addTo(partial, order[tokens]!);
        tokens++;
        if (cosine(partial, full) >= similarity - 1e-6) break;
      }
      budgets[row] = tokens;
    });
  },
});

function cosine(a: Float64Array, b: Float64Array): number {
  const dot = (x: Float64Array, y: Float64Array) =>
    x.reduce((sum, value, i) => sum + value * y[i]!, 0);
  const norms = Math.sqrt(dot(a, a) * dot(b, b));
  return norms > 0 ? dot(a, b) / norms : 1;
}
