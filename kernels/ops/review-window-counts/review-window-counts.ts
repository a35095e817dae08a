import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { type LayerRow, layersOfSequences } from "../../src/layers-of-sequence.ts";
import { batchPositions } from "../layer-chunks/batch-positions.ts";

export interface ReviewWindowCountsParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], alike inside a window, +∞ where protected. */
  readonly scores: Tensor;
  readonly windowSize: number;
  /** Review tokens of each sequence and model layer; Infinity keeps all. */
  readonly budgets: readonly (readonly number[])[];
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Tokens in the best whole windows that a layer's budget pays for, and the protected ones. Of n
 * tokens too many, ⌈n / windowSize⌉ windows go; none stays when that is more than there are tokens.
 */
export const reviewWindowCounts = defineKernel<ReviewWindowCountsParams>({
  name: "review-window-counts",
  reference(params) {
    const { batch, budgets } = params;
    const out = hostArray(params.counts, "u32");
    const positions = batchPositions(batch);
    for (const { sequence, layers } of layersOfSequences(batch, params.scores))
      layers.forEach((rows, index) => {
        const budget = budgets[sequence]![batch.layers[index]!]!;
        for (const row of rows)
          out[row.row] = Math.max(
            1,
            row.protectedSlots + keptTokens(params, row, positions, budget),
          );
      });
  },
});

function keptTokens(
  { scores, windowSize }: ReviewWindowCountsParams,
  { begin, end, length, protectedSlots }: LayerRow,
  positions: Int32Array,
  budget: number,
): number {
  const review = length - protectedSlots;
  if (review <= budget) return review;
  const scoreOf = hostArray(scores, "f32");
  const windows = new Map<number, { score: number; tokens: number }>();
  for (let slot = begin; slot < end; slot++) {
    const score = scoreOf[slot]!;
    if (score === Number.POSITIVE_INFINITY) continue;
    const id = Math.floor(positions[slot]! / windowSize);
    windows.set(id, { score, tokens: (windows.get(id)?.tokens ?? 0) + 1 });
  }
  const dropped = Math.ceil((review - budget) / windowSize);
  if (dropped * windowSize >= review) return 0;
  const best = [...windows]
    .sort(([a, own], [b, other]) => other.score - own.score || a - b)
    .slice(0, Math.max(0, windows.size - dropped));
  let tokens = 0;
  for (const [, window] of best) {
    // Windows that lost tokens earlier are short: more of them may fit than the budget pays for.
    if (tokens + window.tokens > budget + windowSize - 1) break;
    tokens += window.tokens;
  }
  return tokens;
}
