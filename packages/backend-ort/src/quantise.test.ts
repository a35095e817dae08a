import fc from "fast-check";
import * as ort from "onnxruntime-node";
import { describe, expect, test } from "vitest";
import { encodeModel } from "./onnx-model.ts";
import { type QuantisedRows, quantiseRows } from "./quantise.ts";
import { createStockSession } from "./stock-ort.ts";
import { bytesOf } from "./weight-values.ts";

/** Weight (row, column) of a quantised matrix, from the layout's definition. */
function weightAt(
  matrix: QuantisedRows,
  columns: number,
  bits: 4 | 8,
  row: number,
  column: number,
) {
  const blocks = Math.ceil(columns / 32);
  const at = (bytes: Uint8Array, bytesPerRow: number, index: number) =>
    bits === 8
      ? bytes[row * bytesPerRow + index]!
      : (bytes[row * bytesPerRow + (index >> 1)]! >> (4 * (index & 1))) & 15;
  const value = at(matrix.values, (blocks * 32 * bits) / 8, column);
  const zero = at(matrix.zeroPoints, Math.ceil((blocks * bits) / 8), column >> 5);
  return matrix.scales[row * blocks + (column >> 5)]! * (value - zero);
}

describe.each([4, 8] as const)("int%i", (bits) => {
  test("every weight is at most half a step off, and 0 stays 0", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 100 }),
        fc.infiniteStream(fc.float({ min: -8, max: 8, noNaN: true })),
        (columns, stream) => {
          const weights = Float32Array.from({ length: 2 * columns }, () => stream.next().value);
          weights[0] = 0;
          const matrix = quantiseRows(weights, columns, bits, "w");
          weights.forEach((weight, i) => {
            const [row, column] = [Math.floor(i / columns), i % columns];
            const step = matrix.scales[row * Math.ceil(columns / 32) + (column >> 5)]!;
            const error = Math.abs(weightAt(matrix, columns, bits, row, column) - weight);
            // The zero point is rounded too: at the ends of the range that is another half step.
            expect(error).toBeLessThanOrEqual(step * 1.0001 + 1e-9);
          });
          expect(weightAt(matrix, columns, bits, 0, 0)).toBe(0);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("onnxruntime reads the layout as we do", async () => {
    const [rows, columns] = [48, 96];
    const weights = Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i * i) + 0.3);
    const input = Float32Array.from({ length: columns }, (_, i) => Math.cos(3 * i));
    const matrix = quantiseRows(weights, columns, bits, "w");
    const { bytes, external } = encodeModel({
      nodes: [
        {
          op: "MatMulNBits",
          domain: "com.microsoft",
          inputs: ["x", "w", "s", "z"],
          outputs: ["y"],
          attributes: {
            K: { int: columns },
            N: { int: rows },
            bits: { int: bits },
            block_size: { int: 32 },
          },
        },
      ],
      inputs: [{ name: "x", type: "f32", dims: ["n", columns] }],
      outputs: [{ name: "y", type: "f32", dims: ["n", rows] }],
      initializers: [
        { name: "w", type: "u8", dims: [rows, 3, 4 * bits], data: matrix.values },
        { name: "s", type: "f32", dims: [rows * 3], data: bytesOf(matrix.scales) },
        { name: "z", type: "u8", dims: [matrix.zeroPoints.length], data: matrix.zeroPoints },
      ],
    });
    const session = await createStockSession(ort, { bytes, external }, 1);
    const { y } = await session.run({ x: new ort.Tensor("float32", input, [1, columns]) });
    for (let row = 0; row < rows; row++) {
      let expected = 0;
      for (let column = 0; column < columns; column++)
        expected += input[column]! * weightAt(matrix, columns, bits, row, column);
      expect((y!.data as Float32Array)[row]).toBeCloseTo(expected, 3);
    }
    await session.release();
  });

  test("weights that are not finite are refused", () => {
    for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
      expect(() => quantiseRows(Float32Array.of(1, bad), 2, bits, "w")).toThrow(/not finite/);
  });
});
