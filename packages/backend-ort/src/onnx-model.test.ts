import * as ort from "onnxruntime-node";
import { expect, test } from "vitest";
import { encodeModel, type OnnxModel } from "./onnx-model.ts";
import { createStockSession } from "./stock-ort.ts";
import { bytesOf } from "./weight-values.ts";

const product = (matrix: Float32Array, columns: number): OnnxModel => ({
  nodes: [
    { op: "MatMul", inputs: ["a", "b"], outputs: ["product"] },
    { op: "LeakyRelu", inputs: ["product"], outputs: ["y"], attributes: { alpha: { float: 0.5 } } },
  ],
  inputs: [{ name: "a", type: "f32", dims: ["n", matrix.length / columns] }],
  outputs: [{ name: "y", type: "f32", dims: ["n", columns] }],
  initializers: [
    {
      name: "b",
      type: "f32",
      dims: [matrix.length / columns, columns],
      data: bytesOf(matrix),
    },
  ],
});

async function run(model: OnnxModel, input: Float32Array, rows: number) {
  const session = await createStockSession(ort, encodeModel(model), 1);
  const a = new ort.Tensor("float32", input, [rows, input.length / rows]);
  const { y } = await session.run({ a });
  await session.release();
  return y!;
}

test("a small constant stays in the model", async () => {
  const model = product(Float32Array.of(1, 2, 3, 4, 5, -6), 3);
  expect(encodeModel(model).external).toEqual([]);
  const y = await run(model, Float32Array.of(1, 1, 0, 2), 2);
  expect(y.dims).toEqual([2, 3]);
  expect(Array.from(y.data as Float32Array)).toEqual([5, 7, -1.5, 8, 10, -6]);
});

test("a large constant is external data", async () => {
  const size = 64;
  const matrix = Float32Array.from({ length: size * size }, (_, i) => ((i * 7) % 11) - 5);
  const input = Float32Array.from({ length: size }, (_, i) => (i % 5) - 2);
  const model = product(matrix, size);
  const { bytes, external } = encodeModel(model);
  expect(external.map(({ name }) => name)).toEqual(["b"]);
  expect(bytes.length).toBeLessThan(400);
  const y = await run(model, input, 1);
  const expected = Array.from({ length: size }, (_, column) => {
    const sum = input.reduce((total, x, row) => total + x * matrix[row * size + column]!, 0);
    return sum < 0 ? sum / 2 : sum;
  });
  expect(Array.from(y.data as Float32Array)).toEqual(expected);
});
