import { defineKernel, hostArray, hostTensor, type Tensor } from "@kvcache/core";
import { dotRows } from "../../src/row-math.ts";

export interface QueryMomentsParams {
  /** f32 [numRows, heads × width]. */
  readonly rows: Tensor;
  readonly numRows: number;
  readonly heads: number;
  /** Rows that the moments hold already. */
  readonly before: number;
  /** f32 [heads, width], updated. */
  readonly means: Tensor;
  /**
   * Sums of products of deviations from the mean, f32 [heads, width, width], updated; absent where
   * only means are wanted.
   */
  readonly deviations?: Tensor;
}

/**
 * Takes rows into running means and sums of squared deviations, per head: those of the new rows
 * about their own mean are joined to the old ones (Chan et al. 1979), so that nothing cancels.
 */
export const queryMoments = defineKernel<QueryMomentsParams>({
  name: "query-moments",
  reference({ rows, numRows, heads, before, means, deviations }) {
    if (numRows === 0) return;
    const input = hostArray(rows, "f32");
    const mean = hostArray(means, "f32");
    const width = mean.length / heads;
    const columns = new Float64Array(width * numRows);
    const ownMean = new Float64Array(width);
    const all = before + numRows;
    for (let head = 0; head < heads; head++) {
      for (let c = 0; c < width; c++) {
        let total = 0;
        for (let i = 0; i < numRows; i++) {
          const value = input[(i * heads + head) * width + c]!;
          columns[c * numRows + i] = value;
          total += value;
        }
        ownMean[c] = total / numRows;
      }
      const old = mean.subarray(head * width, (head + 1) * width);
      const shift = ownMean.map((own, c) => own - old[c]!);
      if (deviations) {
        const size = width * width;
        const sums = hostArray(deviations, "f32").subarray(head * size, (head + 1) * size);
        addDeviations(columns, ownMean, numRows, sums, shift, (before * numRows) / all);
      }
      for (let c = 0; c < width; c++) old[c] = old[c]! + (shift[c]! * numRows) / all;
    }
  },
  native({ rows, numRows, heads, before, means, deviations }) {
    const sums = deviations ?? hostTensor(new Float32Array(1));
    return {
      inputs: [rows, means, sums],
      outputs: [means, sums],
      integers: [means.length, sums.length, numRows, heads, before, deviations ? 1 : 0],
      floats: [],
    };
  },
});

/** sums += Σ (row − mean)(row − mean)ᵀ + weight × shift shiftᵀ. */
function addDeviations(
  columns: Float64Array,
  mean: Float64Array,
  count: number,
  sums: Float32Array,
  shift: Float64Array,
  weight: number,
): void {
  const width = mean.length;
  for (let c = 0; c < width; c++)
    for (let i = c * count; i < (c + 1) * count; i++) columns[i] = columns[i]! - mean[c]!;
  const matrix = { data: columns, stride: count };
  const products = new Float64Array(width * width);
  dotRows(matrix, width, matrix, width, count, { data: products, stride: width });
  for (let a = 0, at = 0; a < width; a++)
    for (let b = 0; b < width; b++, at++)
      sums[at] = sums[at]! + products[at]! + weight * shift[a]! * shift[b]!;
}
