import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { perLayer } from "./index.ts";

testPolicy("per-layer", () => perLayer());

const shape = { numLayers: 3, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const start = () => {
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 40, windowSize: 0 });
  made.feed(0, 40, { flags: 0 });
  return made;
};

it("keeps each layer's fraction where the target is their mean, the best tokens of each", async () => {
  const policy = perLayer({ ratios: [0.9, 0.5, 0.1] });
  const { kept } = await compressOnce(start(), policy, { ratio: 0.5 });
  expect(kept.map((row) => row.length)).toEqual([36, 36, 20, 20, 4, 4]);
  for (const [row, count] of [
    [0, 36],
    [2, 20],
    [4, 4],
  ] as const) {
    const same = await compressOnce(start(), perLayer(), { tokens: count });
    expect(kept[row]).toEqual(same.kept[row]);
  }
});

it("scales the fractions to other targets", async () => {
  const lengths = async (ratio: number) =>
    (await compressOnce(start(), perLayer({ ratios: [0.8, 0.4, 0.3] }), { ratio })).kept.map(
      (row) => row.length,
    );
  expect(await lengths(0.25)).toEqual([16, 16, 8, 8, 6, 6]);
  expect(await lengths(1)).toEqual([40, 40, 40, 40, 40, 40]);
});

it("refuses fractions for another number of layers when the plan is made", () => {
  const policy = perLayer({ ratios: [1, 0.5] });
  expect(() => policy.budget.checkShape!(shape)).toThrow("2 ratios for 3 layers");
  expect(policy.options).toEqual({ policy: null, ratios: [1, 0.5] });
});
