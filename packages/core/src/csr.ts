/** Compressed rows: row r holds entries indptr[r] … indptr[r + 1] − 1. */

/** Exclusive prefix sum with total: lengths [n] → indptr [n + 1]. */
export function indptrOf(lengths: ArrayLike<number>): Uint32Array {
  const indptr = new Uint32Array(lengths.length + 1);
  for (let row = 0; row < lengths.length; row++) indptr[row + 1] = indptr[row]! + lengths[row]!;
  return indptr;
}

/** Inverse of {@link indptrOf}: indptr [n + 1] → lengths [n]. */
export function lengthsOf(indptr: ArrayLike<number>): Uint32Array {
  const lengths = new Uint32Array(Math.max(0, indptr.length - 1));
  for (let row = 0; row < lengths.length; row++) lengths[row] = indptr[row + 1]! - indptr[row]!;
  return lengths;
}

/** Sum of all entries. */
export function sum(values: ArrayLike<number>): number {
  let total = 0;
  for (let i = 0; i < values.length; i++) total += values[i]!;
  return total;
}
