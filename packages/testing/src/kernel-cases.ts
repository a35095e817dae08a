import type { Encoder, KvBatch, Tensor } from "@kvcache/core";
import {
  keyNorm,
  positionScore,
  prefixSum,
  protectScores,
  readSums,
  recordTopK,
  type TieRule,
  uniformCounts,
  type WindowScoreParams,
  windowScore,
} from "@kvcache/kernels";

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
  const norms = scored((encoder, out) => encoder.run(keyNorm, { batch, out }));
  const top = (tieRule: TieRule, part: "indptr" | "indices") => (encoder: Encoder) => {
    const scores = norms(encoder);
    encoder.run(protectScores, { batch, scores });
    const counts = encoder.tensor("u32", batch.numRows);
    const target = { ratio: 0.5 };
    encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts });
    return recordTopK(encoder, batch, scores, counts, tieRule)[part];
  };
  return {
    "key-norm": norms,
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
  };
}
