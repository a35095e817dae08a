import {
  type BudgetTarget,
  type CacheLayout,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
  tokensForRatio,
} from "@kvcache/core";
import { layerTopCounts } from "../layer-top-counts/layer-top-counts.ts";
import { countProtected } from "../uniform-counts/uniform-counts.ts";

export interface CompositeCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots]. */
  readonly scores: Tensor;
  /** Heads of a layer keep equally many; else each keeps what its own scores are worth. */
  readonly structured: boolean;
  /** Over the heads of a layer, to score a composite token. */
  readonly aggregateHeads: "max" | "mean";
  /** Best composite tokens of each layer (or of each head) that are sure of their place. */
  readonly minimumTokens: number;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/** Composite tokens that `numLists` lists keep together: ⌊numLists × nextPosition × ratio⌋. */
export const compositeTokens = (
  target: BudgetTarget,
  nextPosition: number,
  numLists: number,
  layout: CacheLayout,
): number =>
  "ratio" in target
    ? tokensForRatio(numLists * nextPosition, target.ratio)
    : numLists * targetTokens(target, nextPosition, layout);

/**
 * The k-th composite token of a layer is the k-th best token of each of its heads; its score is their
 * mean or maximum. Layers get as many composites as they have among the best of all layers; layer 0
 * competes with the best composite of any layer at each rank. Ties go to the earlier layer. Lists
 * keep at least one token, and at least what is protected.
 */
export const compositeCounts = defineKernel<CompositeCountsParams>({
  name: "composite-counts",
  reference(params) {
    const { batch, target, scores, structured, minimumTokens, counts } = params;
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const heads = batch.shape.numKvHeads;
    const rows = batch.layers.length * heads;
    for (let first = 0; first < batch.numRows; first += rows) {
      const sorted = Array.from({ length: rows }, (_, row) =>
        Float64Array.from(scoreOf.subarray(indptr[first + row]!, indptr[first + row + 1]!))
          .sort()
          .reverse(),
      );
      const lists = structured ? layerComposites(sorted, heads, params.aggregateHeads) : sorted;
      for (const list of lists) list.fill(Number.POSITIVE_INFINITY, 0, minimumTokens);
      if (structured) raiseFirst(lists);
      const nextPosition = batch.nextPositions[first / rows]!;
      const total = compositeTokens(target, nextPosition, lists.length, batch.layout);
      const perList = layerTopCounts(lists, total);
      sorted.forEach((own, row) => {
        const count = perList[structured ? Math.floor(row / heads) : row]!;
        const sure = Math.max(1, minimumTokens, countProtected(own, 0, own.length));
        out[first + row] = Math.min(own.length, Math.max(sure, count));
      });
    }
  },
});

/** One list a layer: composites of its heads' sorted scores, as long as its longest head. */
function layerComposites(
  sorted: readonly Float64Array[],
  heads: number,
  aggregate: "max" | "mean",
): Float64Array[] {
  return Array.from({ length: sorted.length / heads }, (_, layer) => {
    const own = sorted.slice(layer * heads, (layer + 1) * heads);
    const length = own.reduce((most, { length }) => Math.max(most, length), 0);
    return Float64Array.from({ length }, (_, rank) => {
      const scores = own.map((list) => list[rank] ?? 0);
      if (aggregate === "max") return Math.max(...scores);
      return scores.reduce((total, score) => total + score, 0) / heads;
    });
  });
}

/** Layer 0 gets the best composite of any layer at each rank. */
function raiseFirst(lists: readonly Float64Array[]): void {
  const first = lists[0]!;
  for (let rank = 0; rank < first.length; rank++)
    first[rank] = lists.reduce((most, list) => Math.max(most, list[rank] ?? 0), first[rank]!);
}
