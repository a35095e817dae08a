import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { type GlobalTopCountsParams, globalTopCounts } from "./global-top-counts.ts";

function run(
  rows: readonly (readonly number[])[],
  options: Pick<GlobalTopCountsParams, "target" | "scope"> & { safeguard?: number },
  numKvHeads = rows.length,
) {
  const { batch, scores } = scoreTable([rows], { numKvHeads });
  const counts = hostTensor(new Uint32Array(batch.numRows));
  globalTopCounts.reference({ batch, scores, safeguard: 0, ...options, counts });
  return [...counts.data];
}

it("counts per row what one sort of all its scope's scores takes", () => {
  const row = fc.uniqueArray(fc.integer({ min: 1, max: 999 }), { minLength: 8, maxLength: 8 });
  fc.assert(
    fc.property(fc.tuple(row, row, row, row), fc.integer({ min: 2, max: 8 }), (rows, tokens) => {
      const own = rows.map((values, r) => values.map((value) => value + r / 10));
      // The best of each row stays in any case.
      const entries = own.flatMap((values, r) => {
        const best = Math.max(...values);
        return values.map((value) => ({ r, value: value === best ? 1e6 + value : value }));
      });
      entries.sort((a, b) => b.value - a.value);
      const wanted = [0, 1, 2, 3].map(
        (r) => entries.slice(0, 4 * tokens).filter((entry) => entry.r === r).length,
      );
      expect(run(own, { target: { tokens }, scope: "model" }, 2)).toEqual(wanted);
    }),
  );
});

it("cuts a ratio once for the whole scope", () => {
  const rows = [
    [9, 8, 7, 6, 5],
    [4, 3, 2, 1, 0],
  ];
  // 5 × 0.5 × 2 = 5, two rows of ⌊2.5⌋ would be 4.
  expect(run(rows, { target: { ratio: 0.5 }, scope: "layer" })).toEqual([4, 1]);
  expect(run(rows, { target: { ratio: 0.5 }, scope: "layer", safeguard: 1 })).toEqual([3, 2]);
});

it("keeps layers apart, or lets them compete", () => {
  const rows = [
    [9, 8, 7, 6],
    [4, 3, 2, 1],
  ];
  expect(run(rows, { target: { tokens: 2 }, scope: "layer" }, 1)).toEqual([2, 2]);
  expect(run(rows, { target: { tokens: 2 }, scope: "model" }, 1)).toEqual([3, 1]);
});
