import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { positionOrder } from "../../src/position-order.ts";
import { gatherKeys, gatherPositions, gatherValues } from "../../src/row-view.ts";

/** How the shares of a token's key and value become one number. */
export interface ShareRule {
  readonly leverage: "product" | "average" | "key" | "value";
  /** Consecutive tokens among which squared norms are shared out; 0 = taken as they are. */
  readonly localWindow: number;
  /** Tokens at positions below this score +∞. */
  readonly sinks: number;
}

export interface NormSharesParams extends ShareRule {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
}

const leverages = ["product", "average", "key", "value"] as const;

/**
 * Squared norms of key and value, each divided by the sum over its window of consecutive tokens;
 * multiplied or averaged, and divided by the row's sum.
 */
export const normShares = defineKernel<NormSharesParams>({
  name: "norm-shares",
  reference({ batch, out, ...rule }) {
    const scores = hostArray(out, "f32");
    const { headDim } = batch.shape;
    forEachRow(batch, ({ view, begin }) => {
      const keys = squaredNorms(gatherKeys(view), headDim);
      const values = squaredNorms(gatherValues(view), headDim);
      scores.set(shareScores(keys, values, gatherPositions(view), rule), begin);
    });
  },
  native: ({ batch, out, leverage, localWindow, sinks }) => ({
    cache: hostOf(batch),
    inputs: batchInputs(batch),
    outputs: [out],
    integers: [
      out.length,
      batch.sequences.length,
      batch.layers.length,
      leverages.indexOf(leverage),
      localWindow,
      sinks,
    ],
    floats: [],
  }),
});

/** ‖x‖² of rows [n, width]: [n]. */
export function squaredNorms(rows: Float32Array | Float64Array, width: number): Float64Array {
  const out = new Float64Array(rows.length / width);
  for (let j = 0, at = 0; j < out.length; j++)
    for (let c = 0; c < width; c++, at++) out[j]! += rows[at]! * rows[at]!;
  return out;
}

/** Scores of a row from the squared norms of its keys and values, in slot order. */
export function shareScores(
  keys: Float64Array,
  values: Float64Array,
  positions: Int32Array,
  { leverage, localWindow, sinks }: ShareRule,
): Float64Array {
  const order = positionOrder(positions);
  const shares = (norms: Float64Array) =>
    localWindow === 0 ? norms : localShares(norms, order, localWindow);
  const key = leverage === "value" ? undefined : shares(keys);
  const value = leverage === "key" ? undefined : shares(values);
  const scores = (key ?? value)!.map((share, j) => {
    if (!key || !value) return share;
    return leverage === "product" ? share * value[j]! : (share + value[j]!) / 2;
  });
  const total = scores.reduce((sum, score) => sum + score, 0);
  return scores.map((score, j) =>
    positions[j]! < sinks ? Number.POSITIVE_INFINITY : total > 0 ? score / total : 0,
  );
}

/** Each number divided by the sum of its window of consecutive tokens; 0 where that sum is 0. */
function localShares(
  norms: Float64Array,
  order: Uint32Array | undefined,
  window: number,
): Float64Array {
  const out = new Float64Array(norms.length);
  const slot = (j: number) => (order ? order[j]! : j);
  for (let from = 0; from < norms.length; from += window) {
    const to = Math.min(norms.length, from + window);
    let total = 0;
    for (let j = from; j < to; j++) total += norms[slot(j)]!;
    for (let j = from; j < to; j++) out[slot(j)] = total > 0 ? norms[slot(j)]! / total : 0;
  }
  return out;
}
