import {
  checkWholeNumber,
  defineKernel,
  groupSize,
  hostArray,
  type KvBatch,
  type Scorer,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, gatherPositions, hostOf, queryAttention } from "@kvcache/kernels";

export interface QuestionAttentionOptions {
  /** Tokens of the question, at the prompt's end. */
  readonly window: number;
  /** Multiplies a query's weights by its position, for later queries share theirs among more. */
  readonly normalize?: boolean;
}

/**
 * Attention that the question's tokens pay to each token before it: softmax over all keys, mean over
 * queries and over the query heads of the group, unpooled. The question's own tokens come first, with
 * the highest finite score.
 * Corallo and Papotti 2024, doi:10.1162/tacl_a_00716 (FINCH). Throws `invalid-argument` naming the
 * option that is out of range.
 */
export function questionAttention({ window, normalize = true }: QuestionAttentionOptions): Scorer {
  checkWholeNumber("window", window, 1);
  return Object.freeze<Scorer>({
    name: "question-attention",
    options: { window, normalize },
    needs: [{ kind: "windowQueries", window }],
    score(encoder, batch, out) {
      const { numQueryHeads, headDim } = batch.shape;
      const width = numQueryHeads * headDim;
      const tables = batch.sequences.map((_, sequenceIndex) => {
        const next = batch.nextPositions[sequenceIndex]!;
        const count = Math.min(window, batch.windowLengths[sequenceIndex]!);
        const start = next - count;
        const weight = (i: number) => (normalize ? start + i : 1) / count;
        const factors = encoder.upload(Float32Array.from({ length: count }, (_, i) => weight(i)));
        return batch.layers.map((layer) => {
          const table = encoder.tensor("f32", numQueryHeads * next);
          const queries = encoder.tensor("f32", count * width);
          encoder.run(lastQueries, { batch, sequenceIndex, layer, start, out: queries });
          encoder.run(queryAttention, {
            batch,
            sequenceIndex,
            layer,
            queries,
            factors,
            start,
            seen: [{ from: 0, to: next }],
            scored: { from: 0, to: start },
            reduce: "sum",
            table,
            width: next,
          });
          return table;
        });
      });
      encoder.run(groupMean, { batch, window, tables, out });
    },
  });
}

/** The largest float32. */
const highest = 2 ** 128 - 2 ** 104;

/** The ring's queries of a layer from position `start` on. */
const lastQueries = defineKernel<{
  readonly batch: KvBatch;
  readonly sequenceIndex: number;
  readonly layer: number;
  readonly start: number;
  /** f32 [count, numQueryHeads × headDim]. */
  readonly out: Tensor;
}>({
  name: "last-queries",
  reference({ batch, sequenceIndex, layer, start, out }) {
    const { layout, windowSize, windowQueries } = hostOf(batch);
    const { numLayers, numQueryHeads, headDim } = layout.shape;
    const queries = hostArray(out, "f32");
    const width = numQueryHeads * headDim;
    const ring = (batch.sequences[sequenceIndex]! * numLayers + layer) * windowSize;
    for (let i = 0; i * width < queries.length; i++) {
      const row = ring + ((start + i) % windowSize);
      queries.set(windowQueries.subarray(row * width, (row + 1) * width), i * width);
    }
  },
});

const groupMean = defineKernel<{
  readonly batch: KvBatch;
  readonly window: number;
  /** By sequence and layer of the batch: f32 [numQueryHeads, nextPosition]. */
  readonly tables: readonly (readonly Tensor[])[];
  readonly out: Tensor;
}>({
  name: "group-mean",
  reference({ batch, window, tables, out }) {
    const scores = hostArray(out, "f32");
    const perGroup = groupSize(batch.shape);
    forEachRow(batch, ({ view, layer, head, begin, sequenceIndex }) => {
      const own = tables[sequenceIndex]![batch.layers.indexOf(layer)]!;
      const table = hostArray(own, "f32");
      const width = batch.nextPositions[sequenceIndex]!;
      const start = width - Math.min(window, batch.windowLengths[sequenceIndex]!);
      gatherPositions(view).forEach((position, j) => {
        let total = 0;
        for (let member = 0; member < perGroup; member++)
          total += table[(head * perGroup + member) * width + position]!;
        scores[begin + j] = position < start ? total / perGroup : highest;
      });
    });
  },
});
