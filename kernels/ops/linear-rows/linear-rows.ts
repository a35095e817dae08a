import { defineKernel, hostArray, hostTensor, KvCacheError, type Tensor } from "@kvcache/core";
import { dotRows } from "../../src/row-math.ts";

export interface LinearRowsParams {
  /** f32 [numRows, inputs]. */
  readonly input: Tensor;
  readonly numRows: number;
  /** f32 [outputs, inputs]. */
  readonly weight: Tensor;
  /** f32 [outputs]; absent = zeros. */
  readonly bias?: Tensor;
  /** f32 [numRows, outputs]. */
  readonly out: Tensor;
}

const block = 64;

/** out = input × weightᵀ + bias. */
export const linearRows = defineKernel<LinearRowsParams>({
  name: "linear-rows",
  reference({ input, numRows, weight, bias, out }) {
    if (numRows === 0) return;
    const rows = hostArray(input, "f32");
    const result = hostArray(out, "f32");
    const inputs = rows.length / numRows;
    const outputs = result.length / numRows;
    if (weight.length !== inputs * outputs)
      throw new KvCacheError(
        "invalid-argument",
        `A weight of ${weight.length} numbers cannot map ${inputs} to ${outputs}.`,
        { value: weight.length },
      );
    const matrix = { data: new Float64Array(hostArray(weight, "f32")), stride: inputs };
    const added = bias && hostArray(bias, "f32");
    const products = { data: new Float64Array(outputs * block), stride: block };
    for (let from = 0; from < numRows; from += block) {
      const count = Math.min(block, numRows - from);
      const data = new Float64Array(rows.subarray(from * inputs, (from + count) * inputs));
      dotRows(matrix, outputs, { data, stride: inputs }, count, inputs, products);
      for (let o = 0; o < outputs; o++)
        for (let j = 0; j < count; j++)
          result[(from + j) * outputs + o] = products.data[o * block + j]! + (added?.[o] ?? 0);
    }
  },
  native({ input, numRows, weight, bias, out }) {
    const outputs = out.length / numRows;
    return {
      inputs: [input, weight, bias ?? hostTensor(new Float32Array(outputs))],
      outputs: [out],
      integers: [out.length, numRows, input.length / numRows, outputs],
      floats: [],
    };
  },
});
