import { hostTensor, type KvBatch, type ModelView } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { gaussianAttention } from "./gaussian-attention.ts";

const theta = 100;
const model = (dim: number): ModelView => ({
  hiddenSize: 1,
  rope: () =>
    dim === 0 ? undefined : { theta, dim, maxPositions: 64, scaling: { type: "default" } },
  outputWeight: () => new Float32Array(0),
});
const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const { headDim } = shape;

/** A row of random keys; mean and a covariance B Bᵀ of each query head. */
function example(tokens: number) {
  const random = randomNumbers(4);
  const keys = randomFloats(random, tokens * headDim);
  const { cache, append, writeKeys } = testCache(shape);
  append(0, tokens);
  writeKeys(0, 0, 0, keys);
  const means = randomFloats(random, 2 * headDim, 0.5);
  const roots = [0, 1].map(() => randomFloats(random, headDim * headDim, 0.4));
  const covariances = Float32Array.from({ length: 2 * headDim ** 2 }, (_, at) => {
    const root = roots[Math.floor(at / headDim ** 2)]!;
    const [a, b] = [Math.floor(at / headDim) % headDim, at % headDim];
    let dot = 0;
    for (let c = 0; c < headDim; c++) dot += root[a * headDim + c]! * root[b * headDim + c]!;
    return dot;
  });
  return { batch: testBatch(cache, [0]), keys, means, roots, covariances };
}

function scoresOf(batch: KvBatch, statistics: { means: Float32Array; covariances?: Float32Array }) {
  const out = hostTensor(new Float32Array(batch.totalSlots));
  gaussianAttention.reference({
    ...{ batch, out, futurePositions: 8, sinks: 1, valueNorm: false, epsilon: 0 },
    statistics: [{ ...statistics, count: 1 }],
  });
  return out.data;
}

describe("gaussianAttention", () => {
  it("is what normally distributed queries pay on average, before they are normalised", () => {
    const { batch, keys, means, roots, covariances } = example(6);
    const random = randomNumbers(1);
    const samples = 50_000;
    const expected = new Float64Array(6);
    for (const head of [0, 1]) {
      const total = new Float64Array(6);
      for (let i = 0; i < samples; i++) {
        const noise = randomFloats(random, headDim, 1);
        const query = Float64Array.from({ length: headDim }, (_, a) =>
          noise.reduce(
            (sum, x, c) => sum + roots[head]![a * headDim + c]! * (x / 0.98),
            means[head * headDim + a]!,
          ),
        );
        for (let j = 1; j < 6; j++) {
          let dot = 0;
          for (let c = 0; c < headDim; c++) dot += query[c]! * keys[j * headDim + c]!;
          total[j]! += Math.exp(dot / Math.sqrt(headDim));
        }
      }
      const all = total.reduce((sum, x) => sum + x, 0);
      total.forEach((x, j) => {
        expected[j]! += x / all / 2;
      });
    }
    const scores = scoresOf({ ...batch, model: model(0) }, { means, covariances });
    expect(scores[0]).toBe(Number.POSITIVE_INFINITY);
    for (let j = 1; j < 6; j++)
      expect(Math.abs(scores[j]! / expected[j]! - 1), `token ${j}`).toBeLessThan(0.03);
  });

  it("turns mean and covariance by the mean rotation of the positions to come", () => {
    const { batch, keys, means, covariances } = example(6);
    const scores = scoresOf({ ...batch, model: model(4) }, { means, covariances });
    // R [4, 4]: averaged rotations of both pairs (0, 2) and (1, 3) at positions 6 … 13.
    const average = (f: (angle: number) => number, pair: number) => {
      let total = 0;
      for (let p = 6; p < 14; p++) total += f(p * theta ** (-pair / 2)) / 8;
      return total;
    };
    const turn = [0, 1, 2, 3].map((r) =>
      [0, 1, 2, 3].map((c) => {
        if (r % 2 !== c % 2) return 0;
        if (r === c) return average(Math.cos, r % 2);
        return average(Math.sin, r % 2) * (r < c ? -1 : 1);
      }),
    );
    const four = [0, 1, 2, 3];
    const expected = new Float64Array(6);
    for (const head of [0, 1]) {
      const turned = (j: number) =>
        // Rᵀ k: then μ·Rᵀk = Rμ·k, and likewise for Σ.
        four.map((a) => four.reduce((sum, b) => sum + turn[b]![a]! * keys[j * 4 + b]!, 0));
      const weights = [1, 2, 3, 4, 5].map((j) => {
        const k = turned(j);
        const mean = four.reduce((sum, c) => sum + means[head * 4 + c]! * k[c]!, 0);
        const spread = four.reduce(
          (sum, a) =>
            sum +
            four.reduce((s, b) => s + k[a]! * covariances[(head * 4 + a) * 4 + b]! * k[b]!, 0),
          0,
        );
        return Math.exp(mean / 2 + spread / 8);
      });
      const all = weights.reduce((sum, x) => sum + x, 0);
      weights.forEach((x, i) => {
        expected[i + 1]! += x / all / 2;
      });
    }
    for (let j = 1; j < 6; j++) expect(scores[j]).toBeCloseTo(expected[j]!, 6);
  });
});
