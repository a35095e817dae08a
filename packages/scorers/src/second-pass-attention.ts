import {
  checkOneOf,
  defineKernel,
  groupSize,
  hostArray,
  type KvBatch,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, gatherPositions, gatherValues } from "@kvcache/kernels";
import { replayTable, replayTableOf } from "./replay-table.ts";

export interface SecondPassAttentionOptions {
  /** Over the queries of the pass. Default max. */
  readonly aggregateQueries?: "max" | "mean";
  /** Over the query heads of a KV head. Default mean. */
  readonly aggregateGroup?: "max" | "mean";
  /** Multiplies by ‖v‖₂. Default false. */
  readonly valueNorm?: boolean;
  /** Adds the token's mean over the KV heads of the layer. Default true. */
  readonly addHeadMean?: boolean;
}

type Options = Required<SecondPassAttentionOptions>;

/**
 * Attention that a token gets when the model reads its context a second time, behind the first, with
 * softmax over both. Akulov et al. 2025, arXiv:2509.05165 (KVCompose). Throws `invalid-argument`
 * naming the option that is out of range.
 */
export function secondPassAttention(given: SecondPassAttentionOptions = {}): Scorer {
  const options: Options = {
    aggregateQueries: "max",
    aggregateGroup: "mean",
    valueNorm: false,
    addHeadMean: true,
    ...given,
  };
  checkOneOf("aggregateQueries", options.aggregateQueries, ["max", "mean"]);
  checkOneOf("aggregateGroup", options.aggregateGroup, ["max", "mean"]);
  return Object.freeze<Scorer>({
    name: "second-pass-attention",
    options: { ...options },
    needs: [
      {
        kind: "replay",
        passes: ({ tokenIds }) => [{ tokenIds, start: 0, end: tokenIds.length }],
      },
      { kind: "chunkQueries" },
    ],
    createObserver: (layout) =>
      replayTable(layout, {
        reduce: options.aggregateQueries === "max" ? "max" : "sum",
        seen: ({ start, end }) => [{ from: start, to: end }],
      }),
    score: (encoder, batch, out) => encoder.run(tokenImportance, { ...options, batch, out }),
  });
}

interface ImportanceParams extends Options {
  readonly batch: KvBatch;
  readonly out: Tensor;
}

const tokenImportance = defineKernel<ImportanceParams>({
  name: "token-importance",
  reference(params) {
    const { batch, out, addHeadMean } = params;
    const scores = hostArray(out, "f32");
    const { numKvHeads } = batch.shape;
    let layerSums = new Float64Array(0);
    const rows: { begin: number; positions: Int32Array }[] = [];
    forEachRow(batch, (row) => {
      if (row.head === 0) layerSums = new Float64Array(batch.nextPositions[row.sequenceIndex]!);
      const positions = gatherPositions(row.view);
      rows.push({ begin: row.begin, positions });
      groupImportance(params, row, positions).forEach((score, j) => {
        scores[row.begin + j] = score;
        layerSums[positions[j]!]! += score;
      });
      if (!addHeadMean || row.head < numKvHeads - 1) return;
      for (const { begin, positions } of rows.splice(0))
        positions.forEach((position, j) => {
          scores[begin + j]! += layerSums[position]! / numKvHeads;
        });
    });
  },
});

type Row = Parameters<Parameters<typeof forEachRow>[1]>[0];

/** One row's tokens before its layer's mean: [row length]. */
function groupImportance(
  { batch, aggregateQueries, aggregateGroup, valueNorm }: ImportanceParams,
  { view, layer, head, sequenceIndex }: Row,
  positions: Int32Array,
): Float64Array {
  const table = replayTableOf(batch, sequenceIndex);
  const weights = table.layer(layer);
  const perGroup = groupSize(batch.shape);
  const scale =
    (aggregateQueries === "mean" ? 1 / table.numQueries : 1) /
    (aggregateGroup === "mean" ? perGroup : 1);
  const scores = new Float64Array(positions.length);
  for (let member = 0; member < perGroup; member++)
    positions.forEach((position, j) => {
      const weight = weights[(head * perGroup + member) * table.width + position]! * scale;
      scores[j] = aggregateGroup === "max" ? Math.max(scores[j]!, weight) : scores[j]! + weight;
    });
  if (!valueNorm) return scores;
  const values = gatherValues(view);
  const { headDim } = batch.shape;
  return scores.map(
    (score, j) => score * Math.hypot(...values.subarray(j * headDim, (j + 1) * headDim)),
  );
}
