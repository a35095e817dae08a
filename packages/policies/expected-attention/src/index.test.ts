import { queryStatisticsOf } from "@kvcache/scorers";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { expectedAttention } from "./index.ts";

testPolicy("expected-attention", () => expectedAttention());
testPolicy("expected-attention, mean queries", () =>
  expectedAttention({ sinks: 1, futurePositions: 9, covariance: false, epsilon: 0.01 }),
);

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const n = 30;

it("without covariance is the attention of the mean query, at the next position", async () => {
  const means = Float32Array.of(0.3, -1, 0.5, 2, 1, 1, -0.7, 0.2);
  const statistics = queryStatisticsOf({
    shape: [1, 2, 4],
    means,
    covariances: new Float32Array(32).fill(9),
  });
  const policy = expectedAttention({ statistics, futurePositions: 1, covariance: false });
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  const { scores, kept } = await compressOnce(made, policy, { ratio: 0.5 });
  const angle = [n, n * 10_000 ** -0.5];
  const expected = new Float64Array(n);
  for (const head of [0, 1]) {
    const [a, b, c, d] = means.subarray(4 * head, 4 * head + 4);
    // Pairs (a, c) and (b, d) turn.
    const query = [
      a! * Math.cos(angle[0]!) - c! * Math.sin(angle[0]!),
      b! * Math.cos(angle[1]!) - d! * Math.sin(angle[1]!),
      c! * Math.cos(angle[0]!) + a! * Math.sin(angle[0]!),
      d! * Math.cos(angle[1]!) + b! * Math.sin(angle[1]!),
    ];
    const weights = Array.from({ length: n }, (_, j) => {
      const { key } = made.tokens(0, 0, j);
      return j < 4 ? 0 : Math.exp(query.reduce((dot, q, i) => dot + q * key[i]!, 0) / 2);
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, j) => {
      expected[j]! += (weight / total / 2) * Math.hypot(...made.tokens(0, 0, j).value);
    });
  }
  for (let j = 4; j < n; j++) expect(scores[0]![j]).toBeCloseTo(expected[j]!, 6);
  expect(kept[0]!.slice(0, 4)).toEqual([0, 1, 2, 3]);
  expect(kept[0]).toHaveLength(15);
});
