const maxSteps = 5000;

/**
 * Unit eigenvector of the largest eigenvalue of a symmetric positive semidefinite matrix
 * [size, size], by power iteration: squaring the matrix first makes few steps do.
 */
export function leadingDirection(matrix: Float64Array, size: number): Float64Array {
  let power = scaled(matrix);
  for (let i = 0; i < 4; i++) power = scaled(squared(power, size));
  let vector: Float64Array = new Float64Array(size);
  // The column of the largest diagonal entry cannot be orthogonal to the leading eigenvector.
  let start = 0;
  for (let c = 1; c < size; c++) if (power[c * size + c]! > power[start * size + start]!) start = c;
  vector.set(power.subarray(start * size, (start + 1) * size));
  vector = unit(vector);
  for (let step = 0; step < maxSteps; step++) {
    const next = unit(times(power, vector));
    const change = next.reduce((most, x, c) => Math.max(most, Math.abs(x - vector[c]!)), 0);
    vector = next;
    if (change < 1e-12) break;
  }
  return vector;
}

function times(matrix: Float64Array, vector: Float64Array): Float64Array {
  const out = new Float64Array(vector.length);
  for (let r = 0, at = 0; r < out.length; r++)
    for (let c = 0; c < out.length; c++, at++) out[r]! += matrix[at]! * vector[c]!;
  return out;
}

function squared(matrix: Float64Array, size: number): Float64Array {
  const out = new Float64Array(matrix.length);
  for (let r = 0; r < size; r++)
    for (let i = 0; i < size; i++) {
      const factor = matrix[r * size + i]!;
      for (let c = 0; c < size; c++) out[r * size + c]! += factor * matrix[i * size + c]!;
    }
  return out;
}

/** Divided by the largest absolute entry, so that powers neither overflow nor vanish. */
function scaled(matrix: Float64Array): Float64Array {
  const largest = matrix.reduce((most, x) => Math.max(most, Math.abs(x)), 0) || 1;
  return matrix.map((x) => x / largest);
}

function unit(vector: Float64Array): Float64Array {
  const length = Math.sqrt(vector.reduce((sum, x) => sum + x * x, 0)) || 1;
  return vector.map((x) => x / length);
}
