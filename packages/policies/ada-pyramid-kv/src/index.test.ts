import { adaKV } from "@kvcache/budget-ada-kv";
import { definePolicy } from "@kvcache/core";
import { keyNorm } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type AdaPyramidKVOptions, adaPyramidKV } from "./index.ts";

/** Any policy: its scores and what it protects count. */
const byNorm = definePolicy({
  name: "by-norm",
  paper: "none",
  scorer: keyNorm(),
  budget: adaKV(),
  selector: topK(),
  trigger: { prefill: true, pressure: false },
  protect: { sinks: 2, recent: 4 },
  queryAware: false,
  options: {},
});

testPolicy("ada-pyramid-kv", () => adaPyramidKV({ window: 6 }));
testPolicy("ada-pyramid-kv over key norms", () => adaPyramidKV({ policy: byNorm, beta: 4 }));
testPolicy("ada-pyramid-kv, reference rounding", () =>
  adaPyramidKV({ window: 4, rounding: "reference", skipLayers: 1 }),
);

const shape = { numLayers: 4, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };

async function counts(options: AdaPyramidKVOptions) {
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 200, windowSize: 8 });
  made.feed(0, 200, { flags: 1 });
  const policy = adaPyramidKV({ window: 8, ...options });
  return (await compressOnce(made, policy, { tokens: 40 })).kept.map((row) => row.length);
}

it("splits each layer's share between its heads by their scores", async () => {
  const kept = await counts({ floor: 0 });
  const perLayer = [0, 1, 2, 3].map((layer) => kept[2 * layer]! + kept[2 * layer + 1]!);
  // PyramidKV's [71, 51, 31, 11] a head.
  expect(perLayer).toEqual([142, 102, 62, 22]);
  expect(kept[0]).not.toBe(kept[1]);
});

it("is PyramidKV where the floor is everything, and even at beta 1", async () => {
  expect(await counts({ floor: 1 })).toEqual([71, 71, 51, 51, 31, 31, 11, 11]);
  expect(await counts({ floor: 1, beta: 1 })).toEqual(new Array(8).fill(40));
});

it("takes a policy to wrap, no description of one", () => {
  expect(adaPyramidKV({ policy: byNorm }).options.policy).toEqual({ name: "by-norm" });
  expect(() => adaPyramidKV({ policy: { name: "by-norm" } as never })).toThrow("must be a policy");
});
