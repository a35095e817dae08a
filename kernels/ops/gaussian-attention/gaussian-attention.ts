import {
  defineKernel,
  groupSize,
  hostArray,
  hostTensor,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { dotRows, softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions, gatherValues } from "../../src/row-view.ts";
import { gaussianAttentionWgsl } from "./gaussian-attention.wgsl.ts";
import { type TurnedStatistics, turned } from "./turned-statistics.ts";

/** What is known of queries before RoPE. */
export interface QueryStatistics {
  /** f32 [numLayers, numQueryHeads, headDim]. */
  readonly means: Float32Array;
  /** f32 [numLayers, numQueryHeads, headDim, headDim]; absent = queries do not vary. */
  readonly covariances?: Float32Array | undefined;
  /** Covariances are to be divided by this: 1, or how many queries were summed up. */
  readonly count: number;
}

export interface GaussianAttentionParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Of each sequence of the batch. */
  readonly statistics: readonly QueryStatistics[];
  /** The attention of so many positions from the next one on is averaged. */
  readonly futurePositions: number;
  /** Tokens at positions below this take no part and score +∞. */
  readonly sinks: number;
  /** Multiplies by the norm of the token's value. */
  readonly valueNorm: boolean;
  /** Added before that. */
  readonly epsilon: number;
}

/**
 * Attention that each token can expect from queries that are normally distributed before RoPE:
 * E exp(q·k/√d) = exp(μ·k/√d + kᵀΣk/2d), normalised over the row and averaged over its query heads;
 * mean and covariance are turned by the mean rotation of the positions to come.
 */
export const gaussianAttention = defineKernel<GaussianAttentionParams>({
  name: "gaussian-attention",
  reference(params) {
    const { batch, sinks, valueNorm, epsilon } = params;
    const scores = hostArray(params.out, "f32");
    const group = groupSize(batch.shape);
    const { headDim } = batch.shape;
    const statistics = turned(params);
    forEachRow(batch, (row) => {
      const keys = new Float64Array(gatherKeys(row.view));
      const positions = gatherPositions(row.view);
      const total = new Float64Array(row.view.length);
      for (let member = 0; member < group; member++) {
        const logits = expectedLogits(statistics, row.row * group + member, headDim, keys);
        for (let j = 0; j < logits.length; j++)
          if (positions[j]! < sinks) logits[j] = Number.NEGATIVE_INFINITY;
        softmaxInPlace(logits, 0, logits.length);
        for (let j = 0; j < logits.length; j++) total[j]! += logits[j]! / group;
      }
      const values = valueNorm ? gatherValues(row.view) : undefined;
      for (let j = 0; j < total.length; j++) {
        const score = values ? (total[j]! + epsilon) * norm(values, j, headDim) : total[j]!;
        scores[row.begin + j] = positions[j]! < sinks ? Number.POSITIVE_INFINITY : score;
      }
    });
  },
  native(params) {
    const { batch, out, sinks, valueNorm, epsilon } = params;
    const { means, covariances } = turned(params);
    return {
      cache: hostOf(batch),
      inputs: [
        ...batchInputs(batch),
        hostTensor(means),
        hostTensor(covariances ?? new Float32Array(1)),
      ],
      outputs: [out],
      integers: [
        out.length,
        batch.sequences.length,
        batch.layers.length,
        covariances ? 1 : 0,
        sinks,
        valueNorm ? 1 : 0,
      ],
      floats: [epsilon],
    };
  },
  wgsl: gaussianAttentionWgsl,
});

/** Logarithm of the expected exponential of the logits of a query head, [length of the row]. */
function expectedLogits(
  { means, covariances }: TurnedStatistics,
  index: number,
  headDim: number,
  keys: Float64Array,
): Float64Array {
  const mean = new Float64Array(means.subarray(index * headDim, (index + 1) * headDim));
  const length = keys.length / headDim;
  const logits = new Float64Array(length);
  const keyRows = { data: keys, stride: headDim };
  const into = { data: logits, stride: length };
  dotRows({ data: mean, stride: headDim }, 1, keyRows, length, headDim, into);
  if (!covariances) return logits;
  const size = headDim * headDim;
  const spread = new Float64Array(covariances.subarray(index * size, (index + 1) * size));
  addQuadratic(spread, keys, headDim, logits);
  return logits;
}

/** out[j] += rows[j]ᵀ matrix rows[j]. */
function addQuadratic(
  matrix: Float64Array,
  rows: Float64Array,
  width: number,
  out: Float64Array,
): void {
  const block = 128;
  const products = { data: new Float64Array(width * block), stride: block };
  for (let from = 0; from < out.length; from += block) {
    const count = Math.min(block, out.length - from);
    const chosen = { data: rows.subarray(from * width), stride: width };
    dotRows({ data: matrix, stride: width }, width, chosen, count, width, products);
    for (let j = 0; j < count; j++) {
      let total = 0;
      for (let c = 0; c < width; c++)
        total += products.data[c * block + j]! * rows[(from + j) * width + c]!;
      out[from + j]! += total;
    }
  }
}

function norm(rows: Float32Array, j: number, width: number): number {
  let squares = 0;
  for (let c = j * width; c < (j + 1) * width; c++) squares += rows[c]! * rows[c]!;
  return Math.sqrt(squares);
}
