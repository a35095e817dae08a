import { halfToFloat } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { addScaled, embed, gatedActivation, rmsNorm, scaleLogits } from "./elementwise.ts";
import { linear } from "./linear.ts";
import { createPacer } from "./pause.ts";
import { loadWeights } from "./weights.ts";

const close = (got: Float32Array, expected: readonly number[]) => {
  expect(got.length).toBe(expected.length);
  expected.forEach((value, i) => {
    expect(got[i]).toBeCloseTo(value, 6);
  });
};

describe("node arithmetic", () => {
  it("scales embeddings", () => {
    close(embed(Float32Array.of(1, 2, 3, 4), 2, Int32Array.of(1, 0, 1), 3), [9, 12, 3, 6, 9, 12]);
  });

  it("norms groups of values, with Gemma's unit offset where asked", () => {
    const input = Float32Array.of(3, 4, 0.5, -0.5);
    const weight = Float32Array.of(2, -1);
    const rms = [Math.sqrt(12.5 + 0.1), Math.sqrt(0.25 + 0.1)] as const;
    close(rmsNorm(input, weight, 0.1, false), [6 / rms[0], -4 / rms[0], 1 / rms[1], 0.5 / rms[1]]);
    close(rmsNorm(input, weight, 0.1, true), [9 / rms[0], 0, 1.5 / rms[1], 0]);
  });

  it("activates gates", () => {
    const gate = Float32Array.of(-2, 0, 1.5);
    const up = Float32Array.of(1, 5, 2);
    const silu = (x: number) => x / (1 + Math.exp(-x));
    close(gatedActivation(gate, up, "silu"), [silu(-2), 0, 2 * silu(1.5)]);
    // The values of torch.nn.functional.gelu(x, approximate="tanh").
    close(gatedActivation(gate, up, "gelu-tanh"), [-0.0454023, 0, 2 * 1.3995715]);
  });

  it("adds residuals and caps logits", () => {
    close(addScaled(Float32Array.of(1, 2), Float32Array.of(3, -4), 0.5), [2.5, 0]);
    close(scaleLogits(Float32Array.of(8, -800), 0.25, 30), [
      30 * Math.tanh(2 / 30),
      30 * Math.tanh(-200 / 30),
    ]);
    close(scaleLogits(Float32Array.of(8), 0.25, undefined), [2]);
  });

  it("multiplies odd sizes and adds biases", async () => {
    for (const [numTokens, inFeatures, outFeatures] of [
      [1, 3, 5],
      [7, 5, 9],
      [33, 2, 4],
    ] as const) {
      const numbers = (length: number, step: number) =>
        Float32Array.from({ length }, (_, i) => Math.sin(i * step));
      const input = numbers(numTokens * inFeatures, 1.3);
      const weight = numbers(outFeatures * inFeatures, 0.7);
      const bias = numbers(outFeatures, 2.1);
      const params = { input, weight, bias, numTokens, inFeatures, outFeatures };
      const expected = Array.from({ length: numTokens * outFeatures }, (_, at) => {
        const [token, feature] = [Math.floor(at / outFeatures), at % outFeatures];
        return weight
          .slice(feature * inFeatures, (feature + 1) * inFeatures)
          .reduce((sum, w, i) => sum + w * input[token * inFeatures + i]!, bias[feature]!);
      });
      close(await linear(params, createPacer()), expected);
    }
  });
});

it("converts rows of stored halves, also where they are not aligned", () => {
  const halves = Uint16Array.of(0x3c00, 0xc000, 0x3555, 0x7bff, 0x0001, 0x8000);
  const data = new Uint8Array(13);
  data.set(new Uint8Array(halves.buffer), 1);
  const ref = (start: number, end: number) => ({ name: "w", rows: [start, end] as const });
  const node = (weight: ReturnType<typeof ref>) => ({
    op: "rmsNorm" as const,
    out: "y",
    input: "x",
    weight,
    epsilon: 0,
    unitOffset: false,
  });
  const graph = {
    shape: { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 2 },
    hiddenSize: 2,
    vocabSize: 3,
    maxPositions: 1,
    ropes: [],
    slidingWindow: [undefined],
    nodes: [node(ref(1, 3)), node(ref(0, 1))],
    output: "y",
  };
  const source = (dtype: "f16" | "bf16") => ({
    has: () => true,
    get: () => ({ dtype, shape: [3, 2], data: data.subarray(1) }),
  });
  const f16 = loadWeights(graph, source("f16"));
  expect([...f16.get(ref(1, 3))]).toEqual([...halves.slice(2)].map(halfToFloat));
  expect([...f16.get(ref(0, 1))]).toEqual([1, -2]);
  const bf16 = loadWeights(graph, source("bf16"));
  expect([...bf16.get(ref(0, 1))]).toEqual([2 ** -7, -2]);
  const beyond = { ...graph, nodes: [node(ref(2, 4))] };
  expect(() => loadWeights(beyond, source("f16"))).toThrowError(/no rows 2 … 4/);
});
