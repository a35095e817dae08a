import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { gatherPositions } from "../../src/row-view.ts";

export interface DistanceRankParams {
  readonly batch: KvBatch;
  /** Where stretches end, ascending: distances back from the last token. The last one has no end. */
  readonly edges: readonly number[];
  /** u32 [numLayers × numKvHeads, edges.length + 1]: place of a head among all, for each stretch. */
  readonly ranks: Tensor;
  /** f32 [batch.totalSlots]: receives the rank. */
  readonly out: Tensor;
}

/** The rank of a token's head for the stretch of context that the token is in. */
export const distanceRank = defineKernel<DistanceRankParams>({
  name: "distance-rank",
  reference({ batch, edges, ranks, out }) {
    const rankOf = hostArray(ranks, "u32");
    const scores = hostArray(out, "f32");
    const stretches = edges.length + 1;
    forEachRow(batch, ({ view, begin, layer, head, sequenceIndex }) => {
      const last = batch.nextPositions[sequenceIndex]! - 1;
      const own = (layer * batch.shape.numKvHeads + head) * stretches;
      const positions = gatherPositions(view);
      for (let j = 0; j < view.length; j++)
        scores[begin + j] = rankOf[own + stretchOf(last - positions[j]!, edges)]!;
    });
  },
});

/** Index of the stretch that holds a distance: the first whose end is beyond it. */
export function stretchOf(distance: number, edges: readonly number[]): number {
  let stretch = 0;
  while (stretch < edges.length && distance >= edges[stretch]!) stretch++;
  return stretch;
}
