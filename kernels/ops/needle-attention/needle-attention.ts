import { defineKernel, groupSize, type KvBatch } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { dotRows, softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions } from "../../src/row-view.ts";

export interface NeedleAttentionParams {
  /** Of one sequence; its rows hold everything that the queries may see. */
  readonly batch: KvBatch;
  /** Queries of a layer after RoPE: f32 [count, numQueryHeads × headDim]. */
  readonly queries: (layer: number) => Float32Array;
  /** Position of the first query. */
  readonly start: number;
  readonly count: number;
  /** Positions of the text that answers the question. */
  readonly needle: { readonly from: number; readonly to: number };
  /** f64 [numLayers × numQueryHeads]: scores are added to it. */
  readonly scores: Float64Array;
}

/**
 * How well query heads find a needle: of the tokens that a query attends to most, as many as the
 * needle has, the attention on those inside it, divided by their number; summed over queries.
 * Fu et al. 2024, arXiv:2410.19258.
 */
export const needleAttention = defineKernel<NeedleAttentionParams>({
  name: "needle-attention",
  reference({ batch, queries, start, count, needle, scores }) {
    const { numQueryHeads, headDim } = batch.shape;
    const group = groupSize(batch.shape);
    const length = needle.to - needle.from;
    const scale = 1 / Math.sqrt(headDim);
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
          const top = Uint32Array.from(weights.data.keys()).sort(
            (a, b) => weights.data[b]! - weights.data[a]! || a - b,
          );
          for (const j of top.subarray(0, length))
            if (positions[j]! >= needle.from && positions[j]! < needle.to)
              scores[layer * numQueryHeads + member]! += weights.data[j]! / length;
        }
    });
  },
});
