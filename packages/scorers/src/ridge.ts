import { choleskyInPlace, dotRows, solveLower, solveUpper } from "@kvcache/kernels";

/** A linear map with a constant: y = weight x + bias. */
export interface LinearMap {
  /** f32 [outputs, inputs]. */
  readonly weight: Float32Array;
  /** f32 [outputs]. */
  readonly bias: Float32Array;
}

/** Examples of a linear map, taken in as they come: only their sums are kept. */
export interface RidgeRegression {
  /** inputs [count, numInputs], targets [count, numTargets]. */
  add(inputs: Float32Array, targets: Float32Array, count: number): void;
  /**
   * The map of least squared error plus alpha × its squared weights; the constant is not penalised.
   * Throws `invalid-argument` when alpha is 0 and the examples do not decide the weights.
   */
  solve(alpha: number): LinearMap;
}

export function ridgeRegression(numInputs: number, numTargets: number): RidgeRegression {
  const size = numInputs + numTargets;
  const sums = new Float64Array(size);
  /** Σ inputᵀ (input, target): [numInputs, size]. */
  const products = new Float64Array(numInputs * size);
  let examples = 0;
  return {
    add(inputs, targets, count) {
      const columns = new Float64Array(size * count);
      for (let i = 0; i < count; i++) {
        for (let c = 0; c < numInputs; c++) columns[c * count + i] = inputs[i * numInputs + c]!;
        for (let t = 0; t < numTargets; t++)
          columns[(numInputs + t) * count + i] = targets[i * numTargets + t]!;
      }
      for (let c = 0; c < size; c++)
        for (let i = c * count; i < (c + 1) * count; i++) sums[c]! += columns[i]!;
      const matrix = { data: columns, stride: count };
      const fresh = new Float64Array(products.length);
      dotRows(matrix, numInputs, matrix, size, count, { data: fresh, stride: size });
      for (let i = 0; i < fresh.length; i++) products[i]! += fresh[i]!;
      examples += count;
    },
    solve(alpha) {
      const n = Math.max(1, examples);
      const centred = (a: number, b: number) => products[a * size + b]! - (sums[a]! * sums[b]!) / n;
      const gram = new Float64Array(numInputs * numInputs);
      for (let a = 0; a < numInputs; a++)
        for (let b = 0; b <= a; b++)
          gram[a * numInputs + b] = centred(a, b) + (a === b ? alpha : 0);
      choleskyInPlace(gram, numInputs);
      const weight = new Float32Array(numTargets * numInputs);
      const bias = new Float32Array(numTargets);
      const column = new Float64Array(numInputs);
      for (let t = 0; t < numTargets; t++) {
        for (let c = 0; c < numInputs; c++) column[c] = centred(c, numInputs + t);
        solveLower(gram, numInputs, column);
        solveUpper(gram, numInputs, column);
        weight.set(column, t * numInputs);
        bias[t] = (sums[numInputs + t]! - column.reduce((dot, w, c) => dot + w * sums[c]!, 0)) / n;
      }
      return { weight, bias };
    },
  };
}
