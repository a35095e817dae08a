import { validatePlan } from "@kvcache/core";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { simLayerKV } from "./index.ts";

testPolicy("sim-layer-kv", () => simLayerKV({ threshold: 0.4, sinks: 2, recent: 8, last: 2 }));
testPolicy("sim-layer-kv, no layer is lazy", () => simLayerKV({ sinks: 2, recent: 6 }));

const shape = { numLayers: 3, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [n, sinks, recent, last] = [40, 2, 12, 3];

it("cuts exactly the layers whose last queries look at both ends", async () => {
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: n, windowSize: last });
  made.feed(0, n, { flags: 1 });
  const scores = [0, 1, 2].map((layer) => {
    let mass = 0;
    for (let head = 0; head < 4; head++)
      for (let position = n - last; position < n; position++) {
        const query = made.tokens(0, layer, position).query.subarray(head * 4, head * 4 + 4);
        const weights = Array.from({ length: position + 1 }, (_, j) => {
          const at = (head >> 1) * 4;
          const key = made.tokens(0, layer, j).key.subarray(at, at + 4);
          return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / 2);
        });
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        weights.slice(0, n - last).forEach((weight, j) => {
          if (j < sinks || j >= n - last - recent) mass += weight / total / (4 * last);
        });
      }
    return mass;
  });
  const middle = [...scores].sort((a, b) => a - b)[1]!;
  for (const threshold of [middle - 1e-4, middle + 1e-4]) {
    const cut = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: n, windowSize: last });
    cut.feed(0, n, { flags: 1 });
    const policy = simLayerKV({ threshold, sinks, recent, last });
    const { kept } = await compressOnce(cut, policy, { ratio: 1 });
    const ends = [0, 1, 31, 32, 33, 34, 35, 36, 37, 38, 39];
    scores.forEach((score, layer) => {
      for (const row of kept.slice(2 * layer, 2 * layer + 2))
        if (score > threshold) expect(row).toEqual(ends);
        else expect(row).toHaveLength(n);
    });
  }
});

it("takes no target: how much stays is the prompt's affair", () => {
  const environment = { shape, signals: ["windowQueries"] as const, windowSize: 1 };
  const plan = (ratio: number) =>
    validatePlan({ eviction: { policy: simLayerKV(), target: { ratio } } }, environment);
  expect(() => plan(1)).not.toThrow();
  expect(() => plan(0.5)).toThrow("its threshold and the prompt decide how much stays");
});
