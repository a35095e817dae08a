import { groupSize } from "@kvcache/core";
import { type AveragedRotation, averagedRotations, rotate } from "./averaged-rotation.ts";
import type { GaussianAttentionParams } from "./gaussian-attention.ts";

/** Mean and covariance of every row's query heads such that a logit is k·mean + kᵀ covariance k. */
export interface TurnedStatistics {
  /** f32 [numRows × groupSize, headDim]. */
  readonly means: Float32Array;
  /** f32 [numRows × groupSize, headDim, headDim]. */
  readonly covariances: Float32Array | undefined;
}

/** Turns statistics to the positions to come, and scales them by what a logit is divided by. */
export function turned({
  batch,
  statistics,
  futurePositions,
}: GaussianAttentionParams): TurnedStatistics {
  const { headDim, numKvHeads, numQueryHeads } = batch.shape;
  const group = groupSize(batch.shape);
  const rotationOf = averagedRotations(batch, futurePositions);
  const size = headDim * headDim;
  const varies = statistics.every(({ covariances }) => covariances);
  const means = new Float32Array(batch.numRows * group * headDim);
  const covariances = varies ? new Float32Array(means.length * headDim) : undefined;
  const rows = batch.layers.length * numKvHeads;
  for (let row = 0; row < batch.numRows; row++) {
    const sequenceIndex = Math.floor(row / rows);
    const layer = batch.layers[Math.floor((row % rows) / numKvHeads)]!;
    const turn = rotationOf(layer, sequenceIndex);
    const own = statistics[sequenceIndex]!;
    for (let member = 0; member < group; member++) {
      const from = layer * numQueryHeads + (row % numKvHeads) * group + member;
      const to = row * group + member;
      const mean = new Float64Array(own.means.subarray(from * headDim, (from + 1) * headDim));
      if (turn) rotate(mean, turn);
      means.set(
        mean.map((x) => x / Math.sqrt(headDim)),
        to * headDim,
      );
      if (!covariances) continue;
      const spread = new Float64Array(own.covariances!.subarray(from * size, (from + 1) * size));
      if (turn) turnBoth(spread, headDim, turn);
      const factor = 1 / (2 * headDim * own.count);
      covariances.set(
        spread.map((x) => x * factor),
        to * size,
      );
    }
  }
  return { means, covariances };
}

/** R S Rᵀ in place. */
function turnBoth(spread: Float64Array, width: number, turn: AveragedRotation): void {
  for (let c = 0; c < width; c++) rotate(spread, turn, c, width);
  for (let r = 0; r < width; r++) rotate(spread, turn, r * width);
}
