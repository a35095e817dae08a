import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { positionOrder } from "../../src/position-order.ts";
import { softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions, type RowView } from "../../src/row-view.ts";

export interface KeyRedundancyParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Keys of a larger cosine look alike. */
  readonly threshold: number;
}

/**
 * How much a key looks like the others of its row: the mean cosine to them, softmax over the row.
 * Every key pardons the newest one that looks like itself (or, if none does, the row's first): that
 * cosine counts 0.
 */
export const keyRedundancy = defineKernel<KeyRedundancyParams>({
  name: "key-redundancy",
  reference({ batch, out, threshold }) {
    const redundancy = hostArray(out, "f32");
    forEachRow(batch, ({ view, begin }) => {
      const order =
        positionOrder(gatherPositions(view)) ??
        Uint32Array.from({ length: view.length }, (_, j) => j);
      const units = unitKeys(view, order, batch.shape.headDim);
      meanCosines(units, batch.shape.headDim, threshold).forEach((value, j) => {
        redundancy[begin + order[j]!] = value;
      });
    });
  },
  native: ({ batch, out, threshold }) => ({
    cache: hostOf(batch),
    inputs: batchInputs(batch),
    outputs: [out],
    integers: [out.length, batch.sequences.length, batch.layers.length],
    floats: [threshold],
  }),
});

/** Keys of length 1 by position, [length, headDim]; a key of zeros stays one. */
function unitKeys(view: RowView, order: Uint32Array, headDim: number): Float64Array {
  const keys = gatherKeys(view);
  const units = new Float64Array(keys.length);
  order.forEach((slot, j) => {
    const key = keys.subarray(slot * headDim, (slot + 1) * headDim);
    const norm = Math.hypot(...key);
    key.forEach((value, c) => {
      units[j * headDim + c] = norm > 0 ? value / norm : 0;
    });
  });
  return units;
}

/**
 * Sums of all cosines come from the sum of all unit keys, so that only pardons take a look at pairs,
 * newest first.
 */
function meanCosines(units: Float64Array, headDim: number, threshold: number): Float64Array {
  const length = units.length / headDim;
  const total = new Float64Array(headDim);
  for (let at = 0; at < units.length; at++) total[at % headDim]! += units[at]!;
  const cosine = (i: number, other: Float64Array, j: number) => {
    let dot = 0;
    for (let c = 0; c < headDim; c++) dot += units[i * headDim + c]! * other[j * headDim + c]!;
    return dot;
  };
  const sums = Float64Array.from({ length }, (_, j) => cosine(j, total, 0) - cosine(j, units, j));
  for (let i = 0; i < length; i++) {
    let pardoned = length - 1;
    while (pardoned > 0 && !(pardoned !== i && cosine(i, units, pardoned) > threshold)) pardoned--;
    if (pardoned !== i) sums[pardoned]! -= cosine(i, units, pardoned);
  }
  for (let j = 0; j < length; j++) sums[j]! /= length;
  softmaxInPlace(sums, 0, length);
  return sums;
}
