import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { largestRemainder, roundHalfEven } from "../../src/whole-numbers.ts";
import { layerTopCounts } from "../layer-top-counts/layer-top-counts.ts";
import { blendedCountsWgsl } from "./blended-counts.wgsl.ts";
import { pyramidBase } from "./pyramid-base.ts";

export interface BlendedCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Weight of the even split against the split by scores, in [0, 1]. */
  readonly floor: number;
  /** `half-even`: every row rounds for itself; `exact`: largest remainder, the total is kept. */
  readonly rounding: "half-even" | "exact";
  /** Scales a row's scores by the mass of its best `base` entries over its whole mass. */
  readonly normalize: boolean;
  /** Layers below this one are split evenly. */
  readonly skipLayers: number;
  /** Even over the layers, or falling from the first to the last (see {@link pyramidBase}). */
  readonly layerBudget:
    | { readonly kind: "uniform" }
    | { readonly kind: "pyramid"; readonly beta: number };
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Splits each layer's tokens over its rows by a blend of two ways: by where the layer's best scores
 * lie, and evenly. Protected slots stand outside: they are kept on top of a row's share.
 */
export const blendedCounts = defineKernel<BlendedCountsParams>({
  name: "blended-counts",
  reference(params) {
    const { batch, target, counts } = params;
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scores = hostArray(params.scores, "f32");
    const out = hostArray(counts, "u32");
    const heads = batch.shape.numKvHeads;
    const rowsPerSequence = heads * batch.layers.length;
    for (let first = 0; first < batch.numRows; first += rowsPerSequence) {
      const rows = Array.from({ length: rowsPerSequence }, (_, i) =>
        Float64Array.from(scores.subarray(indptr[first + i]!, indptr[first + i + 1]!)),
      );
      const nextPosition = batch.nextPositions[first / rowsPerSequence]!;
      const tokens = targetTokens(target, nextPosition, batch.layout);
      const candidates = rows.map((row) => row.filter((score) => score !== Infinity));
      const longest = Math.max(...candidates.map((row) => row.length));
      batch.layers.forEach((layer, index) => {
        const layerRows = candidates.slice(index * heads, (index + 1) * heads);
        const kept = layerRows.map((row, head) => rows[index * heads + head]!.length - row.length);
        const bases = kept.map((isProtected) => Math.max(0, tokens - isProtected));
        const least = kept.map((isProtected) => (isProtected > 0 ? 0 : 1));
        const shares = layerShares(params, layer, layerRows, bases, least, longest);
        for (let head = 0; head < heads; head++) {
          const length = rows[index * heads + head]!.length;
          const count = Math.max(1, kept[head]! + shares[head]!);
          out[first + index * heads + head] = Math.min(length, count);
        }
      });
    }
  },
  wgsl: blendedCountsWgsl,
});

/** Tokens beside the protected ones for each row of one layer. */
function layerShares(
  { batch, floor, rounding, normalize, skipLayers, layerBudget }: BlendedCountsParams,
  layer: number,
  rows: readonly Float64Array[],
  evenBases: readonly number[],
  least: readonly number[],
  longest: number,
): readonly number[] {
  const lengths = rows.map((row) => row.length);
  if (evenBases.every((base) => base > longest)) return lengths;
  const { numLayers } = batch.shape;
  const bases = evenBases.map((even, row) => {
    const base =
      layerBudget.kind === "uniform"
        ? even
        : pyramidBase(even, longest, layer, numLayers, layerBudget.beta);
    return Math.min(base, lengths[row]!);
  });
  const capped = (shares: readonly number[]) =>
    shares.map((share, row) => Math.min(share, lengths[row]!));
  if (layer < skipLayers) return bases;
  const weighted = normalize ? rows.map((row, index) => concentrated(row, bases[index]!)) : rows;
  const top = layerTopCounts(weighted, total(bases));
  if (rounding === "half-even")
    return capped(
      bases.map((base, row) => roundHalfEven((1 - floor) * top[row]! + Math.trunc(base * floor))),
    );
  const wanted = bases.map((base, row) => (1 - floor) * top[row]! + floor * base);
  return largestRemainder(wanted, { least, limits: lengths, sum: total(bases) });
}

const total = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0);

/** The row times the mass of its `base` largest entries over its mass. */
function concentrated(row: Float64Array, base: number): Float64Array {
  const descending = row.slice().sort().reverse();
  const mass = descending.reduce((sum, value) => sum + value, 0);
  const best = descending.subarray(0, base).reduce((sum, value) => sum + value, 0);
  return mass > 0 ? row.map((value) => (value * best) / mass) : row;
}
