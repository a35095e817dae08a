import { type Encoder, groupSize, type KvBatch, type Tensor } from "@kvcache/core";
import {
  attentionSpread,
  defensiveScore,
  projectedValueNorm,
  spreadScore,
  type WindowImportanceParams,
  windowImportance,
  windowSums,
} from "@kvcache/kernels";
import { randomFloats, randomNumbers } from "./random.ts";

/** Recordings of kernels over a window of queries, and of what values become behind W_O. */
export function windowCases(batch: KvBatch): {
  readonly [name: string]: (encoder: Encoder) => Tensor;
} {
  const { totalSlots, shape } = batch;
  const sums = (window: number) => (encoder: Encoder) => {
    const out = encoder.tensor("f32", totalSlots * groupSize(shape));
    encoder.run(windowSums, { batch, window, out });
    return out;
  };
  const spread = (part: 0 | 1) => (encoder: Encoder) => {
    const layers = batch.sequences.length * batch.layers.length;
    const out = [encoder.tensor("f32", layers), encoder.tensor("f32", layers)] as const;
    encoder.run(attentionSpread, { batch, window: 6, dispersion: out[0], shift: out[1] });
    return out[part];
  };
  const scores = (pooled: boolean) => (encoder: Encoder) => {
    const out = encoder.tensor("f32", totalSlots);
    const pooling = pooled ? ({ kind: "avg", size: 3 } as const) : undefined;
    const groupReduce = pooled ? "mean" : "max";
    encoder.run(spreadScore, { batch, out, window: 5, gamma: 20, pooling, groupReduce });
    return out;
  };
  const importance =
    (options: Omit<WindowImportanceParams, "batch" | "out">) => (encoder: Encoder) => {
      const out = encoder.tensor("f32", totalSlots);
      encoder.run(windowImportance, { batch, out, ...options });
      return out;
    };
  const norms = (encoder: Encoder) => {
    const out = encoder.tensor("f32", totalSlots);
    const hiddenSize = 37;
    const size = hiddenSize * shape.numQueryHeads * shape.headDim;
    for (const layer of batch.layers) {
      const weight = encoder.upload(randomFloats(randomNumbers(5 + layer), size));
      encoder.run(projectedValueNorm, { batch, layer, weight, hiddenSize, out });
    }
    return out;
  };
  const defensive = (windowBias: number | "reference") => (encoder: Encoder) => {
    const out = encoder.tensor("f32", totalSlots);
    const values = randomFloats(randomNumbers(9), totalSlots).map(Math.abs);
    encoder.run(defensiveScore, {
      batch,
      target: { ratio: 0.6 },
      norms: encoder.upload(values),
      out,
      window: 4,
      pooling: { kind: windowBias === 0 ? "max" : "avg", size: 5 },
      criticalMass: 0.8,
      windowBias,
    });
    return out;
  };
  return {
    "window-sums": sums(7),
    "window-sums, last query": sums(1),
    "attention-spread, dispersion": spread(0),
    "attention-spread, shift": spread(1),
    "window-importance": importance({
      window: 6,
      groupReduce: "max",
      pooling: { kind: "max", size: 3 },
    }),
    "window-importance, mean of a group": importance({ window: 4, groupReduce: "mean" }),
    "spread-score": scores(true),
    "spread-score, largest of a group": scores(false),
    "projected-value-norm": norms,
    "defensive-score": defensive("reference"),
    "defensive-score, given bias": defensive(0),
  };
}
