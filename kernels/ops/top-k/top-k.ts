import {
  defineKernel,
  type Encoder,
  hostArray,
  type KeepSet,
  type KvBatch,
  KvCacheError,
  type Tensor,
} from "@kvcache/core";
import { prefixSum } from "../prefix-sum/prefix-sum.ts";
import { topKWgsl } from "./top-k.wgsl.ts";

/** Which of two equal scores is kept first. */
export type TieRule = "lower-slot" | "higher-slot";

export interface TopKParams {
  /** u32 [numRows + 1]. */
  readonly rowIndptr: Tensor;
  /** f32 [rowIndptr[numRows]]. */
  readonly scores: Tensor;
  /** u32 [numRows], each ≤ the row's length. */
  readonly counts: Tensor;
  /** u32 [numRows + 1]: prefix sum of counts. */
  readonly indptr: Tensor;
  /** u32, at least indptr[numRows] entries: receives each row's kept slots, ascending. */
  readonly indices: Tensor;
  /** Default: the lower slot wins. */
  readonly tieRule?: TieRule;
}

/**
 * Exact top-k of every row: the `counts[r]` highest scores, as slots within their row (0 … row
 * length − 1), ascending. +∞ ties with +∞. Throws `invalid-argument` on NaN or a count above the
 * row's length.
 */
export const topK = defineKernel<TopKParams>({
  name: "top-k",
  reference({ tieRule = "lower-slot", ...params }) {
    const rowIndptr = hostArray(params.rowIndptr, "u32");
    const scores = hostArray(params.scores, "f32");
    const counts = hostArray(params.counts, "u32");
    const indptr = hostArray(params.indptr, "u32");
    const indices = hostArray(params.indices, "u32");
    for (let row = 0; row < counts.length; row++) {
      const values = scores.subarray(rowIndptr[row]!, rowIndptr[row + 1]!);
      const count = counts[row]!;
      if (count > values.length)
        throw new KvCacheError(
          "invalid-argument",
          `Row ${row} has ${values.length} tokens and cannot keep ${count}.`,
          { value: count },
        );
      selectRow(values, count, tieRule, indices, indptr[row]!, row);
    }
  },
  native: ({ rowIndptr, scores, counts, indptr, indices, tieRule }) => ({
    inputs: [rowIndptr, scores, counts, indptr],
    outputs: [indices],
    integers: [indices.length, counts.length, tieRule === "higher-slot" ? 1 : 0],
    floats: [],
  }),
  wgsl: topKWgsl,
});

function selectRow(
  values: Float32Array,
  count: number,
  tieRule: TieRule,
  indices: Uint32Array,
  start: number,
  row: number,
): void {
  if (count === 0) return;
  const sorted = values.slice().sort();
  // A typed array sorts NaN to its end.
  if (Number.isNaN(sorted[sorted.length - 1]))
    throw new KvCacheError("invalid-argument", `Row ${row} has a score that is not a number.`, {
      value: Number.NaN,
      remedy: "A scorer gives every token a number; look for 0 / 0 in it.",
    });
  const threshold = sorted[sorted.length - count]!;
  let above = 0;
  let equal = 0;
  for (let j = 0; j < values.length; j++) {
    if (values[j]! > threshold) above++;
    else if (values[j] === threshold) equal++;
  }
  // Of the `equal` slots at the threshold the first or the last `count − above` are kept.
  const skip = tieRule === "lower-slot" ? 0 : equal - (count - above);
  const stop = skip + count - above;
  let seen = 0;
  let at = start;
  for (let j = 0; j < values.length; j++) {
    const tied = values[j] === threshold;
    if (values[j]! > threshold || (tied && seen >= skip && seen < stop)) indices[at++] = j;
    if (tied) seen++;
  }
}

/** Records the top-k of a batch and returns its keep set; `counts` u32 [batch.numRows]. */
export function recordTopK(
  encoder: Encoder,
  batch: KvBatch,
  scores: Tensor,
  counts: Tensor,
  tieRule: TieRule = "lower-slot",
): KeepSet {
  const indptr = encoder.tensor("u32", batch.numRows + 1);
  const indices = encoder.tensor("u32", batch.totalSlots);
  encoder.run(prefixSum, { counts, out: indptr });
  encoder.run(topK, { rowIndptr: batch.rowIndptr, scores, counts, indptr, indices, tieRule });
  return { indptr, indices };
}
