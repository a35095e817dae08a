import { baklavaProfile } from "@kvcache/budget-baklava";
import type { BudgetAllocator, EvictionPolicy, KvShape } from "@kvcache/core";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type BaklavaOptions, baklava } from "./index.ts";

const profileFor = (shape: KvShape) =>
  baklavaProfile({
    model: { name: "test", fingerprint: null },
    shape,
    importance: {
      heads: Array.from(
        { length: shape.numLayers * shape.numKvHeads },
        (_, i) => ((i * 7) % 5) / 5,
      ),
      layers: Array.from({ length: shape.numLayers }, (_, i) => (1 + ((i * 3) % 4)) / 8),
    },
  });

/** The policy with a profile for whatever shape it meets. */
function anyShape(options: BaklavaOptions): EvictionPolicy {
  const budgetFor = (shape: KvShape) => baklava({ ...options, profile: profileFor(shape) }).budget;
  const budget: BudgetAllocator = {
    name: "baklava",
    needs: [],
    resolve: (request) => budgetFor(request.layout.shape).resolve(request),
    allocate: (encoder, context, counts) =>
      budgetFor(context.batch.shape).allocate(encoder, context, counts),
  };
  return Object.freeze({ ...baklava(options), budget });
}

testPolicy("baklava", () => anyShape({ minTokens: 4 }));

it("keeps more where the profile says so, ⌊n × ratio × rows⌋ in all", async () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 200, windowSize: 32 });
  made.feed(0, 200, { flags: 1 });
  const profile = profileFor(shape);
  const { kept } = await compressOnce(made, baklava({ profile, gamma: 1 }), { ratio: 0.4 });
  const counts = kept.map((row) => row.length);
  expect(counts.reduce((a, b) => a + b)).toBe(320);
  // Importance 0, 0.4, 0.8, 0.2: 36 each, and 176 in proportion, 50.3 : 100.6 : 25.1.
  expect(counts).toEqual([36, 86, 137, 61]);
});

it("refuses a plan without a profile of the model", () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
  expect(() => baklava().budget.checkShape!(shape)).toThrow("baklava needs a profile");
  expect(baklava({ profile: profileFor(shape) }).options.profile).toMatchObject({ model: "test" });
});
