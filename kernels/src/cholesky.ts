import { KvCacheError } from "@kvcache/core";

/**
 * Lower factor L of a symmetric positive definite matrix, L Lᵀ = matrix, in place: [size, size] row
 * major, of which the lower triangle is read and written. Throws `invalid-argument` when a pivot is
 * not positive.
 */
export function choleskyInPlace(matrix: Float64Array, size: number): void {
  for (let i = 0; i < size; i++)
    for (let j = 0; j <= i; j++) {
      let rest = matrix[i * size + j]!;
      for (let c = 0; c < j; c++) rest -= matrix[i * size + c]! * matrix[j * size + c]!;
      if (i > j) matrix[i * size + j] = rest / matrix[j * size + j]!;
      else if (rest > 0) matrix[i * size + i] = Math.sqrt(rest);
      else
        throw new KvCacheError("invalid-argument", `Pivot ${i} of a matrix is ${rest}.`, {
          value: rest,
          remedy: "Add a ridge to its diagonal.",
        });
    }
}

/** Solves L y = x for a lower factor, in place: y replaces x [size]. */
export function solveLower(factor: Float64Array, size: number, x: Float64Array): void {
  for (let i = 0; i < size; i++) {
    let rest = x[i]!;
    for (let c = 0; c < i; c++) rest -= factor[i * size + c]! * x[c]!;
    x[i] = rest / factor[i * size + i]!;
  }
}

/** Solves Lᵀ y = x for a lower factor, in place: y replaces x [size]. */
export function solveUpper(factor: Float64Array, size: number, x: Float64Array): void {
  for (let i = size - 1; i >= 0; i--) {
    let rest = x[i]!;
    for (let c = i + 1; c < size; c++) rest -= factor[c * size + i]! * x[c]!;
    x[i] = rest / factor[i * size + i]!;
  }
}
