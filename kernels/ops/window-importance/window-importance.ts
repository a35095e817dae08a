import { checkOneOf, defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { checkPooling, type Pooling, pool } from "../../src/pooling.ts";
import { checkWindow, logitScale, observeRow, windowInputs } from "../../src/window-weights.ts";

export interface WindowImportanceParams {
  readonly batch: KvBatch;
  /** Last queries observed, at most. */
  readonly window: number;
  /** Smoothing along the positions; none when absent. */
  readonly pooling?: Pooling | undefined;
  /** Over the logits of the query heads of a KV head. */
  readonly groupReduce: "max" | "mean";
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
}

/**
 * Attention that the last queries would pay if the tokens before them were all there is: the group is
 * reduced on the logits, softmax over the keys before the window, mean over queries, then pooled. The
 * window's own tokens get 0.
 */
export const windowImportance = defineKernel<WindowImportanceParams>({
  name: "window-importance",
  reference(params) {
    const { batch, window, pooling, groupReduce } = checked(params);
    const scores = hostArray(params.out, "f32");
    const members = batch.shape.numQueryHeads / batch.shape.numKvHeads;
    forEachRow(batch, (row) => {
      const { eligible, length, numQueries, slotOf, logitsOf } = observeRow(batch, row, window);
      const joined = new Float64Array(numQueries * length);
      for (let member = 0; member < members; member++)
        logitsOf(member).forEach((logit, at) => {
          if (member === 0) joined[at] = groupReduce === "max" ? logit : logit / members;
          else if (groupReduce === "max") joined[at] = Math.max(joined[at]!, logit);
          else joined[at]! += logit / members;
        });
      const means = new Float64Array(eligible);
      for (let i = 0; i < numQueries; i++) {
        const logits = joined.subarray(i * length, i * length + eligible);
        const highest = logits.reduce((most, x) => Math.max(most, x), Number.NEGATIVE_INFINITY);
        const weights = logits.map((x) => Math.exp(x - highest));
        const total = weights.reduce((sum, x) => sum + x, 0);
        for (let j = 0; j < eligible; j++) means[j]! += weights[j]! / total / numQueries;
      }
      if (pooling) pool(means, eligible, pooling);
      for (let j = 0; j < length; j++) scores[row.begin + slotOf(j)] = means[j] ?? 0;
    });
  },
  native(params) {
    const { batch, window, pooling, groupReduce, out } = checked(params);
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
      floats: [logitScale(batch)],
    };
  },
});

function checked(params: WindowImportanceParams): WindowImportanceParams {
  checkWindow(params.batch, params.window);
  checkOneOf("groupReduce", params.groupReduce, ["max", "mean"]);
  if (params.pooling) checkPooling(params.pooling);
  return params;
}
