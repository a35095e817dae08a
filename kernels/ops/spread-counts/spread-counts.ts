import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { layersOfSequences } from "../../src/layers-of-sequence.ts";
import { preferredBudgets } from "./preferred-budgets.ts";

export interface SpreadCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** f32 [sequences × layers of the batch]. */
  readonly preference: Tensor;
  /** Rows keep everything while the target's tokens are exceeded by no more than this. */
  readonly slack: number;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Tokens beside the protected ones in proportion to each layer's preference. */
export const spreadCounts = defineKernel<SpreadCountsParams>({
  name: "spread-counts",
  reference({ batch, target, scores, preference, slack, counts }) {
    const preferences = hostArray(preference, "f32");
    const out = hostArray(counts, "u32");
    for (const { sequence, nextPosition, layers } of layersOfSequences(batch, scores)) {
      const tokens = targetTokens(target, nextPosition, batch.layout);
      const held = Math.max(...layers.flat().map(({ protectedSlots }) => protectedSlots));
      const longest = Math.max(
        ...layers.flat().map(({ length, protectedSlots }) => length - protectedSlots),
      );
      const own = [
        ...preferences.subarray(sequence * layers.length, (sequence + 1) * layers.length),
      ];
      // Where nothing is protected, every row is sure of one token.
      const base = held > 0 ? 0 : 1;
      const total = Math.max(0, tokens - held - base) * layers.length;
      const budgets =
        nextPosition <= tokens + slack
          ? own.map(() => longest)
          : preferredBudgets(own, total, longest - base).map((budget) => base + budget);
      layers.forEach((rows, layer) => {
        for (const { row, length, protectedSlots } of rows)
          out[row] = Math.min(length, Math.max(1, protectedSlots + budgets[layer]!));
      });
    }
  },
});
