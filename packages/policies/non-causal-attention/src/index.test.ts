import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { nonCausalAttention } from "./index.ts";

testPolicy("non-causal-attention", () => nonCausalAttention());
testPolicy("non-causal-attention, short chunks", () =>
  nonCausalAttention({ chunk: 8, padding: "none" }),
);

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const [n, chunk] = [21, 8];

it("sums what each token receives from its chunk, smooths and standardises it", async () => {
  const policy = nonCausalAttention({ chunk, padding: "none" });
  const { scorer } = policy;
  const made = tokenCache({ shape, seed: 6, sequences: 1, maxTokens: n, windowSize: 0, scorer });
  made.feed(0, 5, { flags: 0 });
  made.feed(0, n - 5, { flags: 0 });
  const { scores } = await compressOnce(made, policy, { ratio: 0.5 });
  const vectors = Array.from({ length: n }, (_, j) => made.tokens(0, 0, j));
  const received = vectors.map(({ value }, j) => {
    const begin = j - (j % chunk);
    const own = vectors.slice(begin, begin + chunk);
    let total = 0;
    for (const head of [0, 1])
      for (const { query } of own) {
        const weights = own.map(({ key }) =>
          Math.exp(key.reduce((dot, k, c) => dot + k * query[4 * head + c]!, 0)),
        );
        total += weights[j - begin]! / weights.reduce((sum, weight) => sum + weight, 0) / 2;
      }
    return total * Math.hypot(...value);
  });
  const smooth = received.map(
    (value, j) => ((received[j - 1] ?? 0) + value + (received[j + 1] ?? 0)) / 3,
  );
  const mean = smooth.reduce((sum, x) => sum + x, 0) / n;
  const deviation = Math.sqrt(smooth.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (n - 1));
  smooth.forEach((x, j) => {
    expect(scores[0]![j]).toBeCloseTo((x - mean) / deviation, 4);
  });
});
