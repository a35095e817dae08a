import {
  defineKernel,
  groupSize,
  hostArray,
  hostTensor,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { choleskyInPlace, solveLower } from "../../src/cholesky.ts";
import { mappedSquares, productsOf } from "../../src/row-products.ts";
import { gatherKeys, gatherPositions, gatherValues } from "../../src/row-view.ts";
import { averagedRotations, rotate } from "../gaussian-attention/averaged-rotation.ts";

export interface CapacityScoreParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Mean query before RoPE of each sequence: f32 [numLayers, numQueryHeads, headDim]. */
  readonly means: readonly Float32Array[];
  /** Sharpness of the weights. */
  readonly tau: number;
  /** The mean query is turned by the mean rotation of so many positions from the next one on. */
  readonly futurePositions: number;
  /** Tokens at positions below this take no part and score +∞. */
  readonly sinks: number;
  /** Added to the weights inside the matrix. */
  readonly epsilon: number;
}

/**
 * What each value adds to the information that a row can carry: w vᵀ A⁻¹ v with
 * A = I + Σ (w + ε) v vᵀ, where w = exp(τ (cos(key, mean query) − its maximum)); averaged over the
 * query heads of the row.
 */
export const capacityScore = defineKernel<CapacityScoreParams>({
  name: "capacity-score",
  reference(params) {
    const { batch, out, tau, sinks, epsilon } = params;
    const scores = hostArray(out, "f32");
    const { headDim } = batch.shape;
    const group = groupSize(batch.shape);
    const anchors = turnedMeans(params);
    forEachRow(batch, (row) => {
      const positions = gatherPositions(row.view);
      const inside: number[] = [];
      positions.forEach((position, slot) => {
        if (position >= sinks) inside.push(slot);
      });
      const keys = chosen(gatherKeys(row.view), inside, headDim);
      const values = chosen(gatherValues(row.view), inside, headDim);
      const own = scores.subarray(row.begin, row.end).fill(Number.POSITIVE_INFINITY);
      for (const slot of inside) own[slot] = 0;
      for (let member = 0; member < group; member++) {
        const at = (row.row * group + member) * headDim;
        const anchor = new Float64Array(anchors.subarray(at, at + headDim));
        const weights = relevance(anchor, keys, tau);
        const leverages = mappedSquares(
          whitening(values, weights, epsilon, headDim),
          headDim,
          values,
          headDim,
        );
        inside.forEach((slot, j) => {
          own[slot] = own[slot]! + (weights[j]! * leverages[j]!) / group;
        });
      }
    });
  },
  native(params) {
    const { batch, out, tau, sinks, epsilon } = params;
    return {
      cache: hostOf(batch),
      inputs: [...batchInputs(batch), hostTensor(turnedMeans(params))],
      outputs: [out],
      integers: [out.length, batch.sequences.length, batch.layers.length, sinks],
      floats: [tau, epsilon],
    };
  },
});

/** Mean queries of every row's group, turned to the positions to come: [numRows × group, headDim]. */
function turnedMeans({ batch, means, futurePositions }: CapacityScoreParams): Float32Array {
  const { headDim, numQueryHeads } = batch.shape;
  const group = groupSize(batch.shape);
  const rotationOf = averagedRotations(batch, futurePositions);
  const out = new Float32Array(batch.numRows * group * headDim);
  forEachRow(batch, (row) => {
    const turn = rotationOf(row.layer, row.sequenceIndex);
    for (let member = 0; member < group; member++) {
      const from = (row.layer * numQueryHeads + row.head * group + member) * headDim;
      const own = means[row.sequenceIndex]!.subarray(from, from + headDim);
      const anchor = new Float64Array(own);
      if (turn) rotate(anchor, turn);
      out.set(anchor, (row.row * group + member) * headDim);
    }
  });
  return out;
}

function chosen(rows: Float32Array, slots: readonly number[], width: number): Float64Array {
  const out = new Float64Array(slots.length * width);
  slots.forEach((slot, j) => {
    out.set(rows.subarray(slot * width, (slot + 1) * width), j * width);
  });
  return out;
}

/** exp(τ (cosine − largest cosine)) of every key with the anchor. */
function relevance(anchor: Float64Array, keys: Float64Array, tau: number): Float64Array {
  const width = anchor.length;
  const length = Math.max(Math.hypot(...anchor), 1e-12);
  const cosines = new Float64Array(keys.length / width);
  for (let j = 0; j < cosines.length; j++) {
    let dot = 0;
    let squares = 0;
    for (let c = 0; c < width; c++) {
      const value = keys[j * width + c]!;
      dot += value * anchor[c]!;
      squares += value * value;
    }
    cosines[j] = dot / (length * Math.max(Math.sqrt(squares), 1e-12));
  }
  const highest = cosines.reduce((most, cosine) => Math.max(most, cosine), -1);
  return cosines.map((cosine) => Math.exp(tau * (cosine - highest)));
}

/** L⁻¹ of I + Σ (w + ε) v vᵀ = L Lᵀ, so that ‖L⁻¹ v‖² = vᵀ A⁻¹ v. */
function whitening(
  values: Float64Array,
  weights: Float64Array,
  epsilon: number,
  width: number,
): Float64Array {
  const scaled = values.map((value, i) => value * Math.sqrt(weights[(i / width) | 0]! + epsilon));
  const factor = productsOf(scaled, weights.length, width);
  for (let c = 0; c < width; c++) factor[c * width + c]! += 1;
  choleskyInPlace(factor, width);
  const inverse = new Float64Array(width * width);
  const column = new Float64Array(width);
  for (let c = 0; c < width; c++) {
    column.fill(0)[c] = 1;
    solveLower(factor, width, column);
    for (let r = 0; r < width; r++) inverse[r * width + c] = column[r]!;
  }
  return inverse;
}
