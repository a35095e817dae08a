import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { rKV } from "./index.ts";

testPolicy("r-kv", () => rKV({ interval: 3 }));
testPolicy("r-kv, importance alone", () =>
  rKV({ lambda: 1, window: 4, pooling: { kind: "avg", size: 3 }, groupReduce: "mean" }),
);

const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [n, window] = [30, 8];
const prefilled = () => {
  const made = tokenCache({ shape, seed: 6, sequences: 1, maxTokens: 300, windowSize: window });
  made.feed(0, n, { flags: 1 });
  return made;
};

it("weighs pooled importance against the likeness of keys", async () => {
  const made = prefilled();
  const { scores } = await compressOnce(made, rKV(), { tokens: 40 });
  for (const head of [0, 1]) {
    const part = (vector: Float32Array, index: number) => vector.subarray(index * 4, index * 4 + 4);
    const keys = Array.from({ length: n }, (_, j) => part(made.tokens(0, 0, j).key, head));
    const dot = (a: Float32Array, b: Float32Array) => a.reduce((sum, x, c) => sum + x * b[c]!, 0);
    const importance = new Array<number>(n - window).fill(0);
    for (let at = n - window; at < n; at++) {
      const { query } = made.tokens(0, 0, at);
      const exps = importance.map((_, j) =>
        Math.exp(Math.max(...[0, 1].map((g) => dot(part(query, 2 * head + g), keys[j]!))) / 2),
      );
      const total = exps.reduce((sum, x) => sum + x, 0);
      exps.forEach((x, j) => {
        importance[j]! += x / total / window;
      });
    }
    const cosines = keys.map((a, i) =>
      keys.map((b, j) => (i === j ? 0 : dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b)))),
    );
    for (const row of cosines)
      row[
        Math.max(
          0,
          row.findLastIndex((x) => x > 0.5),
        )
      ] = 0;
    const means = keys.map((_, j) => cosines.reduce((sum, row) => sum + row[j]!, 0) / n);
    const total = means.reduce((sum, x) => sum + Math.exp(x), 0);
    importance.forEach((_, j) => {
      const pooled = Math.max(...importance.slice(Math.max(0, j - 3), j + 4));
      const wanted = 0.07 * pooled - (0.93 * Math.exp(means[j]!)) / total;
      expect(Math.abs(scores[head]![j]! - wanted)).toBeLessThan(1e-7);
    });
  }
});

it("falls back to its budget every interval, and leaves shorter caches alone", async () => {
  const made = prefilled();
  const policy = rKV();
  const before = await compressOnce(made, policy, { tokens: 40 });
  expect(before.kept.map((row) => row.length)).toEqual([n, n]);
  for (const next of [158, 286]) {
    for (let i = 0; i < 128; i++) made.feed(0, 1, { flags: 1 });
    const { kept } = await compressOnce(made, policy, { tokens: 40 }, "decode");
    for (const row of kept) {
      expect(row).toHaveLength(40);
      expect(row.slice(-window)).toEqual(
        Array.from({ length: window }, (_, i) => next - window + i),
      );
    }
  }
});
