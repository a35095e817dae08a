import { defineKernel, groupSize, type KvBatch } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { dotRows, softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions } from "../../src/row-view.ts";
import { stretchOf } from "../distance-rank/distance-rank.ts";

export interface DistanceMassParams {
  /** Of one sequence; its rows hold everything that the queries may see. */
  readonly batch: KvBatch;
  /** Queries of a layer after RoPE: f32 [count, numQueryHeads × headDim]. */
  readonly queries: (layer: number) => Float32Array;
  /** Position of the first query. */
  readonly start: number;
  readonly count: number;
  /** Where stretches of distance end, ascending. */
  readonly edges: readonly number[];
  /** f64 [numLayers × numQueryHeads, edges.length + 1]: attention is added to it. */
  readonly mass: Float64Array;
  /** f64 [edges.length + 1]: queries that had a token in a stretch are added to it. */
  readonly seen: Float64Array;
}

/**
 * Adds up the attention that queries pay to stretches of context, by distance back from the query, for
 * every query head. Divided by `seen` it is the mean over the queries that reach so far.
 */
export const distanceMass = defineKernel<DistanceMassParams>({
  name: "distance-mass",
  reference({ batch, queries, start, count, edges, mass, seen }) {
    const { numQueryHeads, headDim } = batch.shape;
    const group = groupSize(batch.shape);
    const stretches = edges.length + 1;
    const scale = 1 / Math.sqrt(headDim);
    for (let i = 0; i < count; i++)
      for (let stretch = 0; stretch <= stretchOf(start + i, edges); stretch++) seen[stretch]!++;
    forEachRow(batch, ({ view, layer, head }) => {
      const positions = gatherPositions(view);
      const keys = { data: Float64Array.from(gatherKeys(view)), stride: headDim };
      const all = Float64Array.from(queries(layer));
      const weights = { data: new Float64Array(view.length), stride: view.length };
      for (let i = 0; i < count; i++)
        for (let member = head * group; member < (head + 1) * group; member++) {
          const at = (i * numQueryHeads + member) * headDim;
          const query = { data: all.subarray(at, at + headDim), stride: headDim };
          dotRows(query, 1, keys, view.length, headDim, weights);
          for (let j = 0; j < view.length; j++)
            weights.data[j] =
              positions[j]! > start + i ? Number.NEGATIVE_INFINITY : weights.data[j]! * scale;
          softmaxInPlace(weights.data, 0, view.length);
          const own = (layer * numQueryHeads + member) * stretches;
          for (let j = 0; j < view.length; j++)
            if (weights.data[j]! > 0)
              mass[own + stretchOf(start + i - positions[j]!, edges)]! += weights.data[j]!;
        }
    });
  },
});
