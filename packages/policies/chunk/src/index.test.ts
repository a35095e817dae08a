import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { keyDiff } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { chunk } from "./index.ts";

const protecting = (sinks: number, recent: number) =>
  definePolicy({
    name: "by-difference",
    paper: "none",
    scorer: keyDiff(),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, interval: 4, pressure: false },
    protect: { sinks, recent },
    queryAware: false,
    options: {},
  });

testPolicy("chunk", () => chunk({ chunk: 7 }));
testPolicy("chunk over a policy", () => chunk({ policy: protecting(2, 5), chunk: 9 }));
testPolicy("chunk, one", () => chunk());

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };

/** Slots of a chunk that its own key differences keep, in float64. */
function best(keys: Float32Array[], start: number, count: number): number[] {
  const unit = (key: ArrayLike<number>) => {
    const norm = Math.hypot(...Array.from(key));
    return Array.from(key, (value) => value / norm);
  };
  const anchor = [0, 1, 2, 3].map((c) => keys.reduce((sum, key) => sum + unit(key)[c]!, 0));
  const scores = keys.map((key) => -unit(key).reduce((dot, k, c) => dot + k * unit(anchor)[c]!, 0));
  return [...scores.keys()]
    .sort((a, b) => scores[b]! - scores[a]!)
    .slice(0, count)
    .map((slot) => start + slot)
    .sort((a, b) => a - b);
}

it.each([
  [37, 10, 0.5],
  [41, 10, 0.33],
  [20, 64, 0.25],
  [30, 6, 0.01],
])("keeps %i tokens in chunks of %i at %f by their own scores", async (n, size, ratio) => {
  const made = tokenCache({ shape, seed: n, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  const { kept } = await compressOnce(made, chunk({ policy: protecting(0, 0), chunk: size }), {
    ratio,
  });
  kept.forEach((row, index) => {
    const [layer, head] = [index >> 1, index & 1];
    const expected: number[] = [];
    for (let start = 0; start < n; start += size) {
      const length = Math.min(size, n - start);
      const keys = Array.from({ length }, (_, i) =>
        made.tokens(0, layer, start + i).key.subarray(head * 4, head * 4 + 4),
      );
      expected.push(...best(keys, start, Math.max(1, Math.trunc(length * ratio))));
    }
    expect(row).toEqual(expected);
  });
});

it("spreads a target in tokens over the chunks and spends it whole", async () => {
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 40, windowSize: 0 });
  made.feed(0, 40, { flags: 0 });
  const policy = chunk({ policy: protecting(0, 0), chunk: 10 });
  const { kept } = await compressOnce(made, policy, { tokens: 22 });
  for (const row of kept) {
    expect(row).toHaveLength(22);
    for (const start of [0, 10, 20, 30]) {
      const own = row.filter((position) => position >= start && position < start + 10).length;
      expect([5, 6]).toContain(own);
    }
  }
  expect(() => chunk({ chunk: 0 })).toThrow("chunk must be a whole number");
});
