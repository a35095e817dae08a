import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { type LayerRow, layersOfSequences } from "../../src/layers-of-sequence.ts";
import { largestRemainder, roundHalfEven } from "../../src/whole-numbers.ts";
import { cappedShares } from "../layer-share-counts/capped-shares.ts";
import { layerTopCounts } from "../layer-top-counts/layer-top-counts.ts";

export interface EntropyCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], not negative, +∞ where protected. */
  readonly scores: Tensor;
  /** Part of an even split that every row of a layer gets, in [0, 1]. */
  readonly floor: number;
  /** `reference` cuts the tokens of a layer to whole numbers and rounds every row for itself. */
  readonly rounding: "reference" | "exact";
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Tokens beside the protected ones: over the layers by the entropy of their scores, inside a layer to
 * the best scores of all its rows.
 */
export const entropyCounts = defineKernel<EntropyCountsParams>({
  name: "entropy-counts",
  reference(params) {
    const { batch } = params;
    const scores = hostArray(params.scores, "f32");
    const out = hostArray(params.counts, "u32");
    for (const { nextPosition, layers } of layersOfSequences(batch, params.scores)) {
      const contested = layers.map((rows) => rows.map((row) => openScores(scores, row)));
      const held = Math.max(...layers.flat().map(({ protectedSlots }) => protectedSlots));
      const limits = contested.map((rows) => Math.max(...rows.map((row) => row.length)));
      const target = targetTokens(params.target, nextPosition, batch.layout);
      const tokens = Math.max(0, target - held);
      const weights = contested.map(scoreEntropy);
      const layerTokens =
        target >= nextPosition ? limits : entropyShares(weights, tokens, params.rounding, limits);
      layers.forEach((rows, layer) => {
        const shares = rowShares(contested[layer]!, layerTokens[layer]!, params);
        rows.forEach(({ row, length, protectedSlots }, head) => {
          out[row] = Math.min(length, Math.max(1, protectedSlots + shares[head]!));
        });
      });
    }
  },
});

const openScores = (scores: Float32Array, { begin, end }: LayerRow): Float64Array =>
  Float64Array.from(scores.subarray(begin, end)).filter((score) => score !== Infinity);

/** Entropy of the scores of a layer's rows as one distribution, over its largest possible value. */
export function scoreEntropy(rows: readonly Float64Array[]): number {
  const count = rows.reduce((all, row) => all + row.length, 0);
  if (count < 2) return 0;
  const sum = rows.reduce((all, row) => row.reduce((part, score) => part + score, all), 0) + 1e-16;
  let entropy = 0;
  for (const row of rows)
    for (const score of row) entropy -= (score / sum) * Math.log(score / sum + 1e-16);
  return entropy / Math.log(count);
}

/** Average tokens per row of each layer, `tokens` per layer being the mean. */
export function entropyShares(
  weights: readonly number[],
  tokens: number,
  rounding: "reference" | "exact",
  limits: readonly number[],
): readonly number[] {
  const total = tokens * weights.length;
  if (rounding === "exact") return cappedShares(weights, { total, least: 0, limits });
  const sum = weights.reduce((all, weight) => all + weight, 0);
  return weights.map((weight) => Math.trunc(sum > 0 ? (weight / sum) * total : tokens));
}

function rowShares(
  rows: readonly Float64Array[],
  tokens: number,
  { floor, rounding }: EntropyCountsParams,
): readonly number[] {
  const lengths = rows.map((row) => row.length);
  const all = lengths.reduce((sum, length) => sum + length, 0);
  const total = Math.min(all, tokens * rows.length);
  if (total === all) return lengths;
  const top = layerTopCounts([...rows], total);
  const even = Math.trunc(tokens * floor);
  if (rounding === "reference")
    return lengths.map((length, i) =>
      Math.min(length, floor > 0 ? roundHalfEven(top[i]! * (1 - floor) + even) : top[i]!),
    );
  const wanted = lengths.map((length, i) =>
    Math.min(length, top[i]! * (1 - floor) + Math.min(length, tokens) * floor),
  );
  return largestRemainder(wanted, { least: lengths.map(() => 0), limits: lengths, sum: total });
}
