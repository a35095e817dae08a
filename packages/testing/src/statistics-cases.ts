import type { Encoder, KvBatch, Tensor } from "@kvcache/core";
import {
  capacityScore,
  chunkAttention,
  gaussianAttention,
  gelu,
  keyLeverage,
  keyProjection,
  linearRows,
  normShares,
  queryMoments,
  retentionGate,
} from "@kvcache/kernels";
import { randomFloats, randomNumbers } from "./random.ts";
import { randomModelView } from "./random-model-view.ts";

/** Recordings of the kernels that score by statistics, sketches and trained weights. */
export function statisticsCases(plain: KvBatch): {
  readonly [name: string]: (encoder: Encoder) => Tensor;
} {
  const { shape } = plain;
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const batch = { ...plain, model: randomModelView(shape, 5) };
  const floats = (seed: number, length: number, scale = 1) =>
    randomFloats(randomNumbers(seed), length).map((x) => x * scale);
  const scored = (fill: (encoder: Encoder, out: Tensor) => void) => (encoder: Encoder) => {
    const out = encoder.tensor("f32", batch.totalSlots);
    fill(encoder, out);
    return out;
  };
  const width = numQueryHeads * headDim;
  const means = batch.sequences.map((_, i) => floats(i, numLayers * width));
  const gaussian = (varies: boolean) =>
    scored((encoder, out) => {
      const statistics = means.map((mean, i) => ({
        means: mean,
        covariances: varies ? floats(10 + i, mean.length * headDim, 0.2) : undefined,
        count: 2,
      }));
      const more = { futurePositions: 9, sinks: 2, valueNorm: varies, epsilon: 0.01 };
      encoder.run(gaussianAttention, { batch, out, statistics, ...more });
    });
  const leverages = (sketch: number, ridge: number) =>
    scored((encoder, out) => {
      const sketchOf = (layer: number, head: number) =>
        floats(layer * 7 + head, headDim * sketch, 0.4);
      const more = { sketch, sketchOf, ridge, ends: { sinks: 1, recent: 2 } };
      encoder.run(keyLeverage, { batch, out, ...more });
    });
  const moments = (varies: boolean, wanted: "means" | "deviations") => (encoder: Encoder) => {
    const numRows = 150;
    const state = {
      means: encoder.upload(floats(1, width)),
      deviations: encoder.upload(floats(2, width * headDim).map(Math.abs)),
    };
    encoder.run(queryMoments, {
      ...{ rows: encoder.upload(floats(3, numRows * width)), numRows },
      ...{ heads: numQueryHeads, before: 31, means: state.means },
      ...(varies && { deviations: state.deviations }),
    });
    return state[wanted];
  };
  const received = (chunk: number, padded: boolean) => (encoder: Encoder) => {
    const sequenceIndex = batch.sequences.length - 1;
    const numQueries = batch.nextPositions[sequenceIndex]! - 1;
    const out = encoder.tensor("f32", numKvHeads * numQueries);
    const queries = encoder.upload(floats(4, numQueries * width));
    const layer = batch.layers.at(-1)!;
    const more = { queries, first: 1, numQueries, chunk, padded, out };
    encoder.run(chunkAttention, { batch, sequenceIndex, layer, ...more });
    return out;
  };
  const linear = (numRows: number, inputs: number, outputs: number) => (encoder: Encoder) => {
    const out = encoder.tensor("f32", numRows * outputs);
    encoder.run(linearRows, {
      ...{ input: encoder.upload(floats(5, numRows * inputs, 0.3)), numRows, out },
      weight: encoder.upload(floats(6, inputs * outputs, 0.3)),
      ...(outputs > 1 && { bias: encoder.upload(floats(7, outputs)) }),
    });
    return out;
  };
  return {
    "gaussian-attention": gaussian(true),
    "gaussian-attention of mean queries": gaussian(false),
    "capacity-score": scored((encoder, out) => {
      const more = { tau: 3, futurePositions: 7, sinks: 1, epsilon: 1e-3 };
      encoder.run(capacityScore, { batch, out, means, ...more });
    }),
    "key-leverage": leverages(5, 0.01),
    "key-leverage, wide sketch": leverages(40, 1),
    "norm-shares": scored((encoder, out) =>
      encoder.run(normShares, { batch, out, leverage: "product", localWindow: 4, sinks: 2 }),
    ),
    "norm-shares, average of all": scored((encoder, out) =>
      encoder.run(normShares, { batch, out, leverage: "average", localWindow: 0, sinks: 0 }),
    ),
    "norm-shares of values": scored((encoder, out) =>
      encoder.run(normShares, { batch, out, leverage: "value", localWindow: 5, sinks: 0 }),
    ),
    "key-projection": scored((encoder, out) => {
      const directions = floats(9, numLayers * numKvHeads * headDim);
      encoder.run(keyProjection, { batch, directions, out });
    }),
    "query-moments, means": moments(false, "means"),
    "query-moments, means with deviations": moments(true, "means"),
    "query-moments, deviations": moments(true, "deviations"),
    "chunk-attention": received(7, false),
    "chunk-attention, padded": received(20, true),
    "linear-rows": linear(70, 13, 29),
    "linear-rows, one number": linear(3, 200, 1),
    "retention-gate": (encoder) => {
      const [numTokens, heads, group, gateWidth, numBase] = [300, 2, 3, 6, 17];
      const out = encoder.tensor("f32", heads * numTokens);
      const upload = (seed: number, length: number) => encoder.upload(floats(seed, length));
      encoder.run(retentionGate, {
        queries: upload(11, numTokens * heads * group * gateWidth),
        keys: upload(12, numTokens * heads * gateWidth),
        ...{ numTokens, heads, normEpsilon: 1e-5, out },
        queryNorm: upload(13, gateWidth),
        keyNorm: upload(14, gateWidth),
        baseKeys: upload(15, heads * numBase * gateWidth),
        bias: upload(16, heads * group),
      });
      return out;
    },
    gelu: (encoder) => {
      const values = encoder.upload(floats(8, 333, 3));
      encoder.run(gelu, { values });
      return values;
    },
  };
}
