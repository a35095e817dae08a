import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { layersOfSequences } from "../../src/layers-of-sequence.ts";
import { cappedShares } from "./capped-shares.ts";

export interface LayerShareCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** f32 [sequences × layers of the batch], not negative: what each layer needs. */
  readonly weights: Tensor;
  /** Tokens that every row keeps, at most the target's even share: a number, or a part of it. */
  readonly floor: { readonly tokens: number } | { readonly fraction: number };
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * A floor for every layer, and the rest in proportion to what each needs: layers × target tokens in
 * all, protected ones included. The rows of a layer keep the same number.
 */
export const layerShareCounts = defineKernel<LayerShareCountsParams>({
  name: "layer-share-counts",
  reference({ batch, target, scores, weights, floor, counts }) {
    const needs = hostArray(weights, "f32");
    const out = hostArray(counts, "u32");
    for (const { sequence, nextPosition, layers } of layersOfSequences(batch, scores)) {
      const held = layers.map((rows) =>
        Math.max(0, ...rows.map(({ protectedSlots }) => protectedSlots)),
      );
      const even = Math.max(1, ...held, targetTokens(target, nextPosition, batch.layout));
      const asked = "tokens" in floor ? floor.tokens : Math.round(even * floor.fraction);
      const shares = cappedShares(
        [...needs.subarray(sequence * layers.length, (sequence + 1) * layers.length)],
        {
          total: even * layers.length,
          least: Math.min(even, Math.max(1, asked, ...held)),
          limits: layers.map((rows) => Math.max(...rows.map(({ length }) => length))),
        },
      );
      layers.forEach((rows, layer) => {
        for (const { row, length } of rows) out[row] = Math.min(length, shares[layer]!);
      });
    }
  },
});
