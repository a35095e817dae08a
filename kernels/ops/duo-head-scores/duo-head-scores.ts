import { groupSize, type KvShape, type RopeParameters, ropeTable } from "@kvcache/core";
import { softmaxInPlace } from "../../src/row-math.ts";

export interface DuoHeadScores {
  readonly shape: Pick<KvShape, "numQueryHeads" | "numKvHeads" | "headDim">;
  /** RoPE of the layer; undefined where it rotates nothing. */
  readonly rope: RopeParameters | undefined;
  /** Positions that the mean key is repeated at. kvpress uses 500. */
  readonly positions: number;
  /** Mean query of each sample before RoPE: [samples, numQueryHeads, headDim]. */
  readonly meanQueries: Float32Array;
  /** Mean key of each sample before RoPE: [samples, numKvHeads, headDim]. */
  readonly meanKeys: Float32Array;
}

/**
 * How far back the heads of one layer look, [numKvHeads], from mean queries and keys alone: a mean
 * key stands at every position, the mean query at the last; the score is the mean of the cumulated
 * attention weights, so 1 looks at the start and 1 / positions at the end. Mean over samples and
 * query heads. kvpress 0.5.5, DuoAttention on the fly.
 */
export function duoHeadScores(given: DuoHeadScores): Float64Array {
  const { shape, positions, meanQueries, meanKeys } = given;
  const { numQueryHeads, numKvHeads, headDim } = shape;
  const group = groupSize({ ...shape, numLayers: 1 });
  const samples = meanKeys.length / (numKvHeads * headDim);
  const rotation = rotationOf(given);
  const scores = new Float64Array(numKvHeads);
  const weights = new Float64Array(positions);
  for (let sample = 0; sample < samples; sample++)
    for (let head = 0; head < numQueryHeads; head++) {
      const kvHead = Math.floor(head / group);
      const q = (sample * numQueryHeads + head) * headDim;
      const k = (sample * numKvHeads + kvHead) * headDim;
      const query = rotation.rotated(meanQueries.subarray(q, q + headDim), positions - 1);
      for (let position = 0; position < positions; position++) {
        const key = rotation.rotated(meanKeys.subarray(k, k + headDim), position);
        let dot = 0;
        for (let c = 0; c < headDim; c++) dot += query[c]! * key[c]!;
        weights[position] = dot / Math.sqrt(headDim);
      }
      softmaxInPlace(weights, 0, positions);
      // The weight of position p is part of every cumulated sum from p on.
      let area = 0;
      for (let position = 0; position < positions; position++)
        area += weights[position]! * (positions - position);
      scores[kvHead]! += area / positions / group / samples;
    }
  return scores;
}

function rotationOf({ rope, positions, shape }: DuoHeadScores) {
  const half = (rope?.dim ?? 0) / 2;
  const cos = new Float32Array(positions * half);
  const sin = new Float32Array(positions * half);
  const at = Int32Array.from({ length: positions }, (_, position) => position);
  if (rope) ropeTable(rope, at, new Int32Array(positions).fill(positions), cos, sin);
  return {
    rotated(vector: Float32Array, position: number): Float64Array {
      const out = Float64Array.from(vector.subarray(0, shape.headDim));
      for (let i = 0; i < half; i++) {
        const [c, s] = [cos[position * half + i]!, sin[position * half + i]!];
        out[i] = vector[i]! * c - vector[i + half]! * s;
        out[i + half] = vector[i + half]! * c + vector[i]! * s;
      }
      return out;
    },
  };
}
