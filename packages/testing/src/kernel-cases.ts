import type { Encoder, KvBatch, Tensor } from "@kvcache/core";
import {
  type BlockScheduleParams,
  blockSchedule,
  keyDiff,
  keyNorm,
  keyRedundancy,
  lagSpread,
  positionScore,
  prefixSum,
  protectScores,
  queryAttention,
  readSums,
  recordTopK,
  type TieRule,
  uniformCounts,
  type WindowScoreParams,
  windowScore,
} from "@kvcache/kernels";
import { randomFloats, randomNumbers } from "./random.ts";
import { statisticsCases } from "./statistics-cases.ts";
import { windowCases } from "./window-cases.ts";

type Record = (encoder: Encoder) => Tensor;

/** One recording per kernel and variant; each returns the tensor that is compared. */
export function kernelCases(batch: KvBatch): { readonly [name: string]: Record } {
  const scored = (fill: (encoder: Encoder, out: Tensor) => void) => (encoder: Encoder) => {
    const out = encoder.tensor("f32", batch.totalSlots);
    fill(encoder, out);
    return out;
  };
  const window = (options: Partial<WindowScoreParams>) =>
    scored((encoder, out) =>
      encoder.run(windowScore, {
        batch,
        out,
        window: 5,
        rowReduce: "mean",
        groupReduce: "mean",
        ...options,
      }),
    );
  const gathered = (reduce: "max" | "sum") => (encoder: Encoder) => {
    const { numQueryHeads, headDim } = batch.shape;
    const [count, width] = [6, batch.nextPositions[0]!];
    const table = encoder.tensor("f32", numQueryHeads * width);
    const random = randomNumbers(77);
    encoder.run(queryAttention, {
      batch,
      sequenceIndex: 0,
      layer: batch.layers.at(-1)!,
      queries: encoder.upload(randomFloats(random, count * numQueryHeads * headDim)),
      factors: encoder.upload(randomFloats(random, count).map(Math.abs)),
      start: width - 4,
      seen: [
        { from: 0, to: 3 },
        { from: 5, to: width },
      ],
      scored: { from: 1, to: width - 2 },
      reduce,
      table,
      width,
    });
    return table;
  };
  const norms = scored((encoder, out) => encoder.run(keyNorm, { batch, out }));
  const top = (tieRule: TieRule, part: "indptr" | "indices") => (encoder: Encoder) => {
    const scores = norms(encoder);
    encoder.run(protectScores, { batch, scores });
    const counts = encoder.tensor("u32", batch.numRows);
    const target = { ratio: 0.5 };
    encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts });
    return recordTopK(encoder, batch, scores, counts, tieRule)[part];
  };
  const scheduled = (options: Partial<BlockScheduleParams>) => (encoder: Encoder) => {
    const scores = norms(encoder);
    encoder.run(protectScores, { batch, scores });
    const counts = encoder.tensor("u32", batch.numRows);
    const { target = { ratio: 1 }, protectedWindow = 0, evictBlocks } = options;
    encoder.run(blockSchedule, { batch, target, scores, protectedWindow, evictBlocks, counts });
    return counts;
  };
  return {
    "key-norm": norms,
    "key-diff": scored((encoder, out) => encoder.run(keyDiff, { batch, out })),
    "lag-spread": scored((encoder, out) =>
      encoder.run(lagSpread, { batch, out, sinks: 1, lag: 4, crossScoring: false }),
    ),
    "lag-spread, across partitions": scored((encoder, out) =>
      encoder.run(lagSpread, { batch, out, sinks: 2, lag: 3, crossScoring: true }),
    ),
    "key-redundancy": scored((encoder, out) =>
      encoder.run(keyRedundancy, { batch, out, threshold: 0.5 }),
    ),
    "position-score": scored((encoder, out) => encoder.run(positionScore, { batch, out })),
    "read-sums, Σa": scored((encoder, out) => encoder.run(readSums, { batch, power: 1, out })),
    "read-sums, Σa²": scored((encoder, out) => encoder.run(readSums, { batch, power: 2, out })),
    "protect-scores": scored((encoder, out) => encoder.run(protectScores, { batch, scores: out })),
    "prefix-sum": (encoder) => {
      const counts = encoder.upload(Uint32Array.of(3, 0, 7, 2));
      const out = encoder.tensor("u32", 5);
      encoder.run(prefixSum, { counts, out });
      return out;
    },
    "top-k, lower slot": top("lower-slot", "indices"),
    "top-k, higher slot": top("higher-slot", "indices"),
    "top-k, row starts": top("lower-slot", "indptr"),
    "block-schedule, of a ratio": scheduled({ target: { ratio: 0.5 }, protectedWindow: 3 }),
    "block-schedule, more blocks than there are": scheduled({ evictBlocks: 1000 }),
    "query-attention, largest": gathered("max"),
    "query-attention, sums": gathered("sum"),
    "window-score": window({}),
    "window-score, average pooling": window({
      pooling: { kind: "avg", size: 5 },
      poolFirst: true,
      excludeWindow: true,
    }),
    "window-score, sums, largest of a group": window({
      pooling: { kind: "max", size: 3 },
      rowReduce: "sum",
      groupReduce: "max",
      excludeWindow: true,
    }),
    "window-score, squares in slabs": window({
      window: 8,
      power: 2,
      buffer: 2,
      pooling: { kind: "max", size: 7 },
      poolFirst: true,
      rowReduce: "sum",
      groupReduce: "sum",
      slab: 3,
    }),
    "window-score, all heads": window({ window: 1, allHeads: true }),
    ...statisticsCases(batch),
    ...windowCases(batch),
  };
}
