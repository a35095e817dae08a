import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { layersOfSequences } from "../../src/layers-of-sequence.ts";
import { profileShares, type ShareFamily } from "./profile-shares.ts";

export interface ProfileCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Of each sequence: importance [numLayers × numKvHeads], not negative, and what becomes of it. */
  readonly shares: readonly {
    readonly importance: readonly number[];
    readonly family: ShareFamily;
  }[];
  /** Tokens that every row keeps, as far as the target's even share allows. */
  readonly minTokens: number;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Tokens by a profile made beforehand: what each row keeps does not depend on the input. */
export const profileCounts = defineKernel<ProfileCountsParams>({
  name: "profile-counts",
  reference({ batch, target, scores, shares, minTokens, counts }) {
    const out = hostArray(counts, "u32");
    const { numKvHeads } = batch.shape;
    for (const { sequence, nextPosition, layers } of layersOfSequences(batch, scores)) {
      const rows = layers.flat();
      const total =
        "ratio" in target
          ? target.ratio * rows.length * nextPosition
          : targetTokens(target, nextPosition, batch.layout) * rows.length;
      const even = Math.max(1, Math.trunc(total / rows.length));
      const { importance, family } = shares[sequence]!;
      const own = batch.layers.flatMap((layer) =>
        importance.slice(layer * numKvHeads, (layer + 1) * numKvHeads),
      );
      const tokens = profileShares(own, {
        family,
        total,
        least: rows.map(({ protectedSlots }) =>
          Math.max(1, protectedSlots, Math.min(even, minTokens)),
        ),
        limits: rows.map(({ length }) => length),
      });
      rows.forEach(({ row }, i) => {
        out[row] = tokens[i]!;
      });
    }
  },
});
