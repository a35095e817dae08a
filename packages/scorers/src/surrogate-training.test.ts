import type { KvShape } from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { tokenCache } from "@kvcache/testing";
import { describe, expect, it } from "vitest";
import { gaussianMatrix } from "./gaussian-matrix.ts";
import {
  keyNorm,
  ridgeRegression,
  surrogate,
  surrogateCorrelations,
  surrogateSamples,
  trainLinearSurrogate,
  trainMlp,
  trainMlpSurrogate,
} from "./index.ts";

describe("ridgeRegression", () => {
  const [count, numInputs] = [60, 4];
  const inputs = gaussianMatrix(1, count * numInputs, 1);
  const noise = gaussianMatrix(2, count, 0.1);
  const targets = Float32Array.from(
    { length: count },
    (_, i) => 3 * inputs[i * 4]! - inputs[i * 4 + 2]! + 5 + noise[i]!,
  );

  it("has no gradient left, whatever parts the examples came in", () => {
    const regression = ridgeRegression(numInputs, 1);
    regression.add(inputs.subarray(0, 44), targets.subarray(0, 11), 11);
    regression.add(inputs.subarray(44), targets.subarray(11), count - 11);
    const alpha = 2;
    const { weight, bias } = regression.solve(alpha);
    const errors = Array.from(targets, (target, i) => {
      let value = bias[0]!;
      for (let c = 0; c < 4; c++) value += weight[c]! * inputs[i * 4 + c]!;
      return value - target;
    });
    expect(errors.reduce((sum, error) => sum + error, 0)).toBeCloseTo(0, 4);
    for (let c = 0; c < 4; c++) {
      const slope = errors.reduce((sum, error, i) => sum + error * inputs[i * 4 + c]!, 0);
      expect(slope + alpha * weight[c]!).toBeCloseTo(0, 4);
    }
  });

  it("refuses what the examples do not decide, without a ridge", () => {
    const regression = ridgeRegression(numInputs, 1);
    regression.add(inputs.subarray(0, 4), targets.subarray(0, 1), 1);
    expect(() => regression.solve(0)).toThrow("Add a ridge");
    expect(() => regression.solve(1)).not.toThrow();
  });
});

describe("trainMlp", () => {
  const [count, numInputs] = [400, 2];
  const inputs = gaussianMatrix(3, count * numInputs, 1);
  const targets = Float32Array.from(
    { length: count },
    (_, i) => Math.abs(inputs[2 * i]!) - inputs[2 * i + 1]!,
  );
  const examples = { count, inputs, targets };

  it("learns what no linear map can, the same for the same seed", () => {
    const errors: number[] = [];
    const options = { width: 12, epochs: 60, batchSize: 50, learningRate: 0.05, seed: 4 };
    const trained = trainMlp(examples, { ...options, onEpoch: (_, error) => errors.push(error) });
    expect(errors).toHaveLength(60);
    // The best linear map leaves the variance of |x|, 0.36.
    expect(errors.at(-1)).toBeLessThan(0.02);
    expect(trainMlp(examples, options)).toEqual(trained);
    expect(trainMlp(examples, { ...options, seed: 5 })).not.toEqual(trained);
  });

  it("goes down the slope of the error", () => {
    const errors: number[] = [];
    const onEpoch = (_: number, error: number) => errors.push(error);
    // AdamW's first step is the learning rate in every direction, so that the error must fall.
    trainMlp(examples, {
      ...{ width: 3, epochs: 2, batchSize: count, weightDecay: 0, learningRate: 1e-4, onEpoch },
    });
    expect(errors[1]).toBeLessThan(errors[0]!);
  });
});

describe("surrogateSamples", () => {
  const shape: KvShape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  /** A teacher of positive scores. */
  const teacher = {
    ...keyNorm(),
    score: (...[encoder, batch, out]: Parameters<ReturnType<typeof keyNorm>["score"]>) => {
      keyNorm().score(encoder, batch, out);
      const values = (out as unknown as { data: Float32Array }).data;
      values.forEach((value, i) => {
        values[i] = Math.exp(value);
      });
    },
  };

  async function sampled(perSequence: number) {
    const samples = surrogateSamples(teacher, { perSequence, seed: 1 });
    const { scorer } = samples;
    const made = tokenCache({ shape, seed: 2, sequences: 2, maxTokens: 60, windowSize: 0, scorer });
    made.feed(0, 20, { flags: 0 });
    made.feed(0, 10, { flags: 0 });
    made.feed(1, 50, { flags: 0 });
    made.truncate(1, 40);
    const encoder = createHostEncoder();
    const batch = made.batch("prefill");
    const out = encoder.tensor("f32", batch.totalSlots);
    scorer.score(encoder, batch, out);
    return { samples, made, scores: await encoder.read(out), batch };
  }

  it("pairs block inputs with the logarithms of the teacher's scores", async () => {
    const { samples, made, scores } = await sampled(1000);
    const { count, inputs, targets } = samples.layer(1);
    expect(count).toBe(70);
    const size = inputs.length / count;
    const known = new Map<string, number>();
    for (const [sequence, length, begin] of [
      [0, 30, 60],
      [1, 40, 4 * 30 + 80],
    ] as const)
      for (let p = 0; p < length; p++)
        known.set(`${made.tokens(sequence, 1, p).hidden}`, begin + p);
    for (let i = 0; i < count; i++) {
      const slot = known.get(`${inputs.slice(i * size, (i + 1) * size)}`)!;
      expect(targets[2 * i]).toBeCloseTo(Math.log(scores[slot]!), 5);
    }
    expect((await sampled(7)).samples.layer(0).count).toBe(14);
  });

  it("goes on from a stored state, and chooses the same tokens", async () => {
    const { samples } = await sampled(7);
    const again = surrogateSamples(teacher, { perSequence: 7, seed: 1 });
    again.restore(samples.state());
    expect(again.layer(1)).toEqual(samples.layer(1));
    expect(again.state()).toEqual(samples.state());
  });

  it("tells how well a surrogate learnt", async () => {
    const { samples } = await sampled(1000);
    const { inputs, count } = samples.layer(0);
    const size = inputs.length / count;
    const weights = trainLinearSurrogate(samples, { alpha: 1e-3 });
    const examplesOf = (layer: number) => {
      const { weight1, bias1 } = weights.layers[layer]!;
      const targets = Float32Array.from({ length: 2 * count }, (_, at) => {
        const [i, head] = [at >> 1, at % 2];
        let sum = bias1[head]!;
        for (let c = 0; c < size; c++) sum += weight1[head * size + c]! * inputs[i * size + c]!;
        // One head exactly, the other upside down.
        return head === 0 ? 3 * sum + 1 : -sum;
      });
      return { inputs, count, targets };
    };
    surrogateCorrelations(weights, examplesOf).forEach((value, row) => {
      expect(value).toBeCloseTo(row % 2 === 0 ? 1 : -1, 5);
    });
  });

  it("trains surrogates that score", async () => {
    const { samples } = await sampled(1000);
    const trained = [
      trainLinearSurrogate(samples, { alpha: 0.1, model: "tiny" }),
      trainMlpSurrogate(samples, { width: 4, epochs: 3 }),
    ];
    for (const weights of trained) {
      expect(weights.shape).toEqual([2, 2, 11]);
      expect(() => surrogate(weights).checkShape?.(shape)).not.toThrow();
    }
    expect(trained[0]!.model).toBe("tiny");
    expect(() => surrogateSamples(teacher).layer(0)).toThrow("No sample was taken");
  });
});
