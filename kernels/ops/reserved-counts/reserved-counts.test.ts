import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { reservedCounts } from "./reserved-counts.ts";

const worked = [
  [0.3, 0.2, 0.1501, 0.15, 0.1001, 0.1],
  [0.9, 0.04, 0.03, 0.0102, 0.0101, 0.01],
  [0.55, 0.25, 0.1, 0.05, 0.03, 0.02],
];

function run(rows: readonly (readonly number[])[], tokens: number, safeguard: number) {
  const { batch, scores } = scoreTable([rows], { numKvHeads: rows.length });
  const counts = hostTensor(new Uint32Array(batch.numRows));
  const target = { tokens };
  reservedCounts.reference({ batch, target, scores, safeguard, keepProtected: true, counts });
  return [...counts.data];
}

it("gives the worked example's split", () => {
  expect(run(worked, 2, 0)).toEqual([3, 1, 2]);
  expect(run(worked, 2, 0.2)).toEqual([3, 1, 2]);
  expect(run(worked, 2, 1)).toEqual([2, 2, 2]);
});

it("keeps the largest mass that any split with the same reserve can keep", () => {
  const row = fc.uniqueArray(fc.integer({ min: 1, max: 500 }), { minLength: 6, maxLength: 6 });
  const rows = fc.tuple(row, row, row);
  fc.assert(
    fc.property(
      rows,
      fc.integer({ min: 1, max: 5 }),
      fc.double({ min: 0, max: 1, noNaN: true }),
      (rows, tokens, safeguard) => {
        const counts = run(rows, tokens, safeguard);
        const least = Math.max(1, Math.trunc(tokens * safeguard));
        const mass = (split: readonly number[]) =>
          split.reduce(
            (sum, count, head) =>
              sum +
              [...rows[head]!]
                .sort((a, b) => b - a)
                .slice(0, count)
                .reduce((part, value) => part + value, 0),
            0,
          );
        let best = 0;
        for (let a = least; a <= 6; a++)
          for (let b = least; b <= 6; b++) {
            const c = 3 * tokens - a - b;
            if (c >= least && c <= 6) best = Math.max(best, mass([a, b, c]));
          }
        expect(counts.reduce((sum, count) => sum + count, 0)).toBe(3 * tokens);
        expect(Math.min(...counts)).toBeGreaterThanOrEqual(least);
        expect(mass(counts)).toBe(best);
      },
    ),
    { numRuns: 60 },
  );
});

it("shares evenly where protected tokens alone exceed the target", () => {
  const inf = Number.POSITIVE_INFINITY;
  const { batch, scores } = scoreTable(
    [
      [
        [inf, inf, inf, 1],
        [inf, inf, inf, 9],
      ],
    ],
    { numKvHeads: 2 },
  );
  const counts = hostTensor(new Uint32Array(2));
  const params = { batch, target: { tokens: 2 }, scores, safeguard: 0.2, counts };
  reservedCounts.reference({ ...params, keepProtected: true });
  expect([...counts.data]).toEqual([3, 3]);
  reservedCounts.reference({ ...params, keepProtected: false });
  expect([...counts.data]).toEqual([2, 2]);
});
