import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { layerDefensiveKV } from "./index.ts";

testPolicy("layer-defensive-kv", () => layerDefensiveKV({ window: 6 }));

it("keeps ⌊n × ratio × heads × layers⌋ tokens, wherever they are", async () => {
  const shape = { numLayers: 3, numQueryHeads: 2, numKvHeads: 1, headDim: 8 };
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 61, windowSize: 6 });
  made.feed(0, 61, { flags: 1 });
  const { kept } = await compressOnce(made, layerDefensiveKV({ window: 6 }), { ratio: 0.35 });
  const counts = kept.map((row) => row.length);
  expect(counts.reduce((a, b) => a + b)).toBe(64);
  expect(new Set(counts).size).toBeGreaterThan(1);
});
