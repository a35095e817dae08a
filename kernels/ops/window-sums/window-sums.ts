import { defineKernel, groupSize, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { checkWindow, logitScale, observeRow, windowInputs } from "../../src/window-weights.ts";

export interface WindowSumsParams {
  readonly batch: KvBatch;
  /** Last queries observed, at most; 1 is the last query's attention. */
  readonly window: number;
  /**
   * f32 [batch.totalSlots × groupSize]: the row that begins at slot b has its query heads, one
   * [length] after another in slot order, from b × groupSize on.
   */
  readonly out: Tensor;
}

/** Softmaxed attention to every cached token, summed over the last queries, per query head. */
export const windowSums = defineKernel<WindowSumsParams>({
  name: "window-sums",
  reference({ batch, window, out }) {
    checkWindow(batch, window);
    const table = hostArray(out, "f32");
    const group = groupSize(batch.shape);
    forEachRow(batch, (row) => {
      const { length, numQueries, slotOf, weightsOf } = observeRow(batch, row, window);
      for (let member = 0; member < group; member++) {
        const weights = weightsOf(member);
        const at = row.begin * group + member * length;
        for (let j = 0; j < length; j++) {
          let sum = 0;
          for (let i = 0; i < numQueries; i++) sum += weights[i * length + j]!;
          table[at + slotOf(j)] = sum;
        }
      }
    });
  },
  native({ batch, window, out }) {
    checkWindow(batch, window);
    return {
      cache: hostOf(batch),
      inputs: windowInputs(batch),
      outputs: [out],
      integers: [out.length, batch.sequences.length, batch.layers.length, window],
      floats: [logitScale(batch)],
    };
  },
});
