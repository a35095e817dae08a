import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { dBudgetKV } from "./index.ts";

testPolicy("dbudget-kv", () => dBudgetKV(), { targets: [{ ratio: 1 }] });
testPolicy(
  "dbudget-kv by attention",
  () => dBudgetKV({ ordering: "attention", threshold: 0.1, skipLayers: [] }),
  { targets: [{ ratio: 1 }] },
);

const shape = { numLayers: 3, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
const start = () => {
  const made = tokenCache({ shape, seed: 6, sequences: 1, maxTokens: 80, windowSize: 8 });
  made.feed(0, 80, { flags: 1 });
  return made;
};

it("keeps the sinks and a suffix, and the first two layers whole", async () => {
  const { kept } = await compressOnce(start(), dBudgetKV({ threshold: 0.05 }), { ratio: 1 });
  expect(kept.slice(0, 4).map((row) => row.length)).toEqual([80, 80, 80, 80]);
  for (const row of kept.slice(4)) {
    const evicted = 80 - row.length;
    expect(evicted).toBeGreaterThan(0);
    expect(row).toEqual([
      0,
      1,
      2,
      3,
      ...Array.from({ length: 76 - evicted }, (_, i) => 4 + evicted + i),
    ]);
  }
});

it("evicts more the more may be lost, and no more than the cap", async () => {
  const kept = async (threshold: number, ratio = 1) => {
    const policy = dBudgetKV({ threshold, ordering: "attention", skipLayers: [] });
    const rows = (await compressOnce(start(), policy, { ratio })).kept;
    return rows.reduce((sum, row) => sum + row.length, 0);
  };
  const [none, little, much, all] = await Promise.all([kept(0), kept(0.02), kept(0.2), kept(1)]);
  expect(none).toBe(480);
  expect(little).toBeLessThan(none!);
  expect(much).toBeLessThan(little!);
  // Eight protected tokens and one candidate of each of six rows.
  expect(all).toBe(54);
  expect(await kept(0, 0.5)).toBe(240);
});

it("refuses options that are out of range", () => {
  expect(() => dBudgetKV({ ordering: "random" as "position" })).toThrow("ordering cannot be");
  expect(() => dBudgetKV({ threshold: -1 })).toThrow("threshold");
});
