import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { observedAttention } from "./index.ts";

testPolicy("observed-attention", () => observedAttention());
testPolicy("observed-attention, recent ones stay", () => observedAttention({ recent: 4 }));
testPolicy("observed-attention, of the last queries", () => observedAttention({ queries: 5 }));

const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };

it("is the mean attention of all queries that could see a token", async () => {
  const n = 26;
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, 19, { flags: 2 });
  for (let i = 19; i < n; i++) made.feed(0, 1, { flags: 2 });
  const { scores } = await compressOnce(made, observedAttention(), { ratio: 1 });
  for (const kvHead of [0, 1]) {
    const means = new Array<number>(n).fill(0);
    for (const head of [2 * kvHead, 2 * kvHead + 1])
      for (let position = 0; position < n; position++) {
        const query = made.tokens(0, 0, position).query.subarray(head * 4, head * 4 + 4);
        const weights = Array.from({ length: position + 1 }, (_, j) => {
          const key = made.tokens(0, 0, j).key.subarray(kvHead * 4, kvHead * 4 + 4);
          return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / 2);
        });
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        weights.forEach((weight, j) => {
          means[j]! += weight / total / 2 / (n - j);
        });
      }
    means.forEach((mean, j) => {
      expect(Math.abs(scores[kvHead]![j]! - mean), `token ${j}`).toBeLessThan(1e-6);
    });
  }
});

it("gives early tokens no advantage for being seen by more queries", async () => {
  // Zero-length queries attend evenly: a token's mean is that of 1 / (q + 1) over q ≥ j.
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 12, windowSize: 12 });
  made.feed(0, 12, { flags: 1 });
  made.cache.host.windowQueries.fill(0);
  const policy = observedAttention({ queries: 12 });
  const { scores } = await compressOnce(made, policy, { ratio: 1 });
  scores[0]!.forEach((score, j) => {
    let mean = 0;
    for (let q = j; q < 12; q++) mean += 1 / (q + 1) / (12 - j);
    expect(score).toBeCloseTo(mean, 6);
    if (j > 0) expect(score).toBeLessThan(scores[0]![j - 1]!);
  });
});
