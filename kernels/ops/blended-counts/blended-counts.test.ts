import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { type BlendedCountsParams, blendedCounts } from "./blended-counts.ts";
import { pyramidBase } from "./pyramid-base.ts";

const inf = Number.POSITIVE_INFINITY;
const worked = [
  [0.3, 0.2, 0.1501, 0.15, 0.1001, 0.1],
  [0.9, 0.04, 0.03, 0.0102, 0.0101, 0.01],
  [0.55, 0.25, 0.1, 0.05, 0.03, 0.02],
];

function run(
  rows: readonly (readonly number[])[],
  tokens: number,
  options: Partial<BlendedCountsParams> = {},
  numKvHeads = rows.length,
) {
  const { batch, scores } = scoreTable([rows], { numKvHeads });
  const counts = hostTensor(new Uint32Array(batch.numRows));
  blendedCounts.reference({
    batch,
    target: { tokens },
    scores,
    floor: 0.2,
    rounding: "half-even",
    normalize: false,
    skipLayers: 0,
    layerBudget: { kind: "uniform" },
    counts,
    ...options,
  });
  return [...counts.data];
}

it("gives the worked example's splits, with the totals that rounding makes of them", () => {
  expect(run(worked, 2, { floor: 0 })).toEqual([3, 1, 2]);
  expect(run(worked, 2, { floor: 0.2 })).toEqual([2, 1, 2]);
  expect(run(worked, 2, { floor: 0.5 })).toEqual([2, 2, 2]);
  expect(run(worked, 2, { floor: 1 })).toEqual([2, 2, 2]);
  expect(run(worked, 2, { floor: 0.2, rounding: "exact" })).toEqual([3, 1, 2]);
});

it("keeps protected tokens on top of a head's share", () => {
  const rows = worked.map((row) => [...row, inf, inf]);
  expect(run(rows, 4, { floor: 0 })).toEqual([5, 3, 4]);
});

it("keeps everything when the budget exceeds what there is", () => {
  expect(run(worked, 7)).toEqual([6, 6, 6]);
});

it("leaves the first layers even", () => {
  expect(run([...worked, ...worked], 2, { floor: 0, skipLayers: 1 }, 3)).toEqual([
    2, 2, 2, 3, 1, 2,
  ]);
});

it("favours concentrated heads when scores are normalised", () => {
  // Masses of the best two: 1/2, 0.94/1, 0.8/1; the flat head loses its third token.
  expect(run(worked, 2, { floor: 0, normalize: true })).toEqual([2, 1, 3]);
});

it("keeps the total exactly with largest remainders, 1 … length each", () => {
  const row = fc.array(fc.integer({ min: 0, max: 90 }), { minLength: 8, maxLength: 8 });
  const rows = fc.array(row, { minLength: 1, maxLength: 5 });
  const fraction = fc.double({ min: 0, max: 1, noNaN: true });
  fc.assert(
    fc.property(rows, fc.integer({ min: 1, max: 8 }), fraction, (rows, tokens, floor) => {
      const counts = run(rows, tokens, { floor, rounding: "exact" });
      expect(counts.reduce((sum, count) => sum + count, 0)).toBe(rows.length * tokens);
      expect(Math.min(...counts)).toBeGreaterThanOrEqual(1);
      expect(Math.max(...counts)).toBeLessThanOrEqual(8);
    }),
  );
});

it("falls evenly from layer to layer in a pyramid", () => {
  expect([0, 1, 2, 3].map((layer) => pyramidBase(22, 112, layer, 4, 20))).toEqual([43, 29, 15, 1]);
  expect([0, 1].map((layer) => pyramidBase(22, 30, layer, 2, 20))).toEqual([30, 14]);
  expect(pyramidBase(22, 100, 0, 1, 20)).toBe(43);
});
