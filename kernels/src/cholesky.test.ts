import { describe, expect, it } from "vitest";
import { choleskyInPlace, solveLower, solveUpper } from "./cholesky.ts";
import { randomFloats, randomNumbers } from "./test-cache.ts";

const size = 7;
const rows = randomFloats(randomNumbers(5), size * size);
/** R Rᵀ + 1/10: symmetric and positive definite. */
const matrix = Float64Array.from({ length: size * size }, (_, at) => {
  const [a, b] = [Math.floor(at / size) * size, (at % size) * size];
  let dot = a === b ? 0.1 : 0;
  for (let c = 0; c < size; c++) dot += rows[a + c]! * rows[b + c]!;
  return dot;
});

describe("cholesky", () => {
  it("solves with both triangles what the matrix multiplies", () => {
    const wanted = Float64Array.from({ length: size }, (_, i) => i - 2.5);
    const x = wanted.map((_, r) =>
      wanted.reduce((dot, value, c) => dot + matrix[r * size + c]! * value, 0),
    );
    const factor = matrix.slice();
    choleskyInPlace(factor, size);
    solveLower(factor, size, x);
    solveUpper(factor, size, x);
    wanted.forEach((value, i) => {
      expect(x[i]).toBeCloseTo(value, 8);
    });
  });

  it("refuses a matrix that is not positive definite", () => {
    expect(() => choleskyInPlace(Float64Array.of(1, 2, 2, 1), 2)).toThrow("Pivot 1");
  });
});
