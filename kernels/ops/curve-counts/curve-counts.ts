import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { roundHalfEven } from "../../src/whole-numbers.ts";
import { countProtected } from "../uniform-counts/uniform-counts.ts";

/** Fractions evicted of every head, for targets of 1 … 99 % evicted: f32 [99, layers, heads]. */
export interface BudgetCurve {
  readonly shape: readonly [number, number, number];
  readonly fractions: Float32Array;
}

export interface CurveCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  readonly curve: BudgetCurve;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** A row keeps at least its protected slots, also where the curve gives it fewer. */
  readonly keepProtected: boolean;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Counts of every row from its head's entry in a curve; see {@link curveTokens}. */
export const curveCounts = defineKernel<CurveCountsParams>({
  name: "curve-counts",
  reference({ batch, target, curve, scores, keepProtected, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const { numKvHeads } = batch.shape;
    let row = 0;
    for (const next of batch.nextPositions)
      for (const layer of batch.layers) {
        const tokens = curveTokens(curve, layer, numKvHeads, next, target, batch.layout);
        for (const token of tokens) {
          const [start, end] = [indptr[row]!, indptr[row + 1]!];
          const least = keepProtected ? countProtected(scoreOf, start, end) : 0;
          out[row++] = Math.min(end - start, Math.max(token, least));
        }
      }
  },
});

/**
 * Tokens that each head of a layer keeps of n: (1 − fraction) × n rounded down, what the layer's
 * rounded total leaves over going to the largest remainders; at least one. In f32 and with ties to
 * even, as the reference implementation computes.
 */
export function curveTokens(
  { fractions }: BudgetCurve,
  layer: number,
  heads: number,
  n: number,
  target: BudgetTarget,
  layout: CacheLayout,
): Uint32Array {
  const ratio = "ratio" in target ? target.ratio : targetTokens(target, n, layout) / n;
  if (ratio >= 1) return new Uint32Array(heads).fill(n);
  const entry = Math.min(98, Math.max(0, roundHalfEven(100 * (1 - ratio)) - 1));
  const from = (entry * layout.shape.numLayers + layer) * heads;
  const ideal = Float32Array.from({ length: heads }, (_, head) => {
    const kept = Math.fround(1 - fractions[from + head]!);
    return Math.fround(Math.min(1, Math.max(0, kept)) * n);
  });
  const sum = ideal.reduce((total, tokens) => Math.fround(total + tokens), 0);
  const total = Math.min(heads * n, Math.max(heads, roundHalfEven(sum)));
  const tokens = Uint32Array.from(ideal, Math.floor);
  const left = total - tokens.reduce((a, b) => a + b, 0);
  const remainder = (head: number) => Math.fround(ideal[head]! - tokens[head]!);
  [...ideal.keys()]
    .sort((a, b) => remainder(b) - remainder(a) || a - b)
    .slice(0, Math.max(0, left))
    .forEach((head) => {
      tokens[head]! += 1;
    });
  return tokens.map((count) => Math.min(n, Math.max(1, count)));
}
