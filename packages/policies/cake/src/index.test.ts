import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { cake } from "./index.ts";

testPolicy("cake", () => cake({ window: 6 }));
testPolicy("cake, tuned", () => cake({ window: 5, tau1: 0.4, tau2: 0.6, pooling: null }));

it("shares the same total over the layers, unevenly", async () => {
  const shape = { numLayers: 4, numQueryHeads: 2, numKvHeads: 1, headDim: 8 };
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 90, windowSize: 6 });
  made.feed(0, 90, { flags: 1 });
  const { kept } = await compressOnce(made, cake({ window: 6, tau2: 0.5 }), { tokens: 26 });
  const counts = kept.map((row) => row.length);
  expect(counts.reduce((a, b) => a + b)).toBe(4 * 26);
  expect(new Set(counts).size).toBeGreaterThan(1);
});

it("leaves prompts alone that exceed a target in tokens by a window", async () => {
  const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 8 };
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 40, windowSize: 6 });
  made.feed(0, 32, { flags: 1 });
  const { kept } = await compressOnce(made, cake({ window: 6 }), { tokens: 26 });
  expect(kept[0]).toHaveLength(32);
  const { kept: fewer } = await compressOnce(made, cake({ window: 6 }), { tokens: 25 });
  expect(fewer[0]).toHaveLength(25);
});

it("refuses options that are out of range", () => {
  expect(() => cake({ gamma: -1 })).toThrow("gamma");
  expect(() => cake({ tau1: 0 })).toThrow("tau1");
});
