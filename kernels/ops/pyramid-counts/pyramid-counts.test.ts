import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { pyramidCounts } from "./pyramid-counts.ts";
import { type PyramidSchedule, pyramidSchedule } from "./pyramid-schedule.ts";

const schedule = (given: Partial<PyramidSchedule>) =>
  pyramidSchedule({
    tokens: 128,
    length: 8000,
    window: 8,
    numLayers: 32,
    beta: 20,
    rule: "reference",
    ...given,
  });
const total = (counts: readonly number[]) => counts.reduce((sum, count) => sum + count, 0);

it("falls as KVCache-Factory's", () => {
  const small = schedule({});
  expect(small.slice(0, 4)).toEqual([242, 235, 228, 221]);
  expect(small.slice(-2)).toEqual([32, 25]);
  const large = schedule({ tokens: 2048 });
  expect(large.slice(0, 4)).toEqual([3986, 3861, 3736, 3611]);
  expect(large.slice(-2)).toEqual([236, 111]);
  expect(schedule({ numLayers: 4 })).toEqual([242, 166, 90, 14]);
  expect(schedule({ tokens: 2048, length: 3000 })).toEqual(new Array(32).fill(2048));
  expect(schedule({ length: 60 })).toEqual(new Array(32).fill(60));
});

it("never falls below nothing nor rises above the row, and keeps its total when exact", () => {
  for (const length of [130, 200, 250, 300, 5000])
    for (const beta of [1, 1.7, 5, 20, 400])
      for (const numLayers of [1, 2, 7, 31]) {
        const exact = schedule({ length, beta, numLayers, rule: "exact" });
        expect(total(exact)).toBe(128 * numLayers);
        for (const rule of ["reference", "exact", "kvpress"] as const) {
          const counts = schedule({ length, beta, numLayers, rule });
          counts.forEach((count, layer) => {
            expect(count).toBeGreaterThanOrEqual(8);
            expect(count).toBeLessThanOrEqual(length);
            if (rule !== "exact") expect(count).toBeLessThanOrEqual(counts[layer - 1] ?? length);
          });
        }
        // Fractions may shift a token between neighbours.
        const kvpress = schedule({ length, beta, numLayers, rule: "kvpress" });
        if (numLayers > 1)
          expect(Math.abs(total(kvpress) / numLayers - 128)).toBeLessThanOrEqual(1);
      }
});

it("gives kvpress' even split where the last layer would lose its window", () => {
  expect(schedule({ tokens: 12.9, length: 129, numLayers: 2, rule: "kvpress" })).toEqual([13, 13]);
  expect(
    schedule({ tokens: 64.5, length: 129, window: 16, numLayers: 1, rule: "kvpress" }),
  ).toEqual([113]);
});

it("cuts rows by the schedule of their layer, never below what is protected", () => {
  const row = (length: number, kept: number) =>
    Array.from({ length }, (_, j) => (j < kept ? Number.POSITIVE_INFINITY : 0.5));
  const { batch, scores } = scoreTable([[row(40, 2), row(9, 9), row(40, 2), row(30, 12)]], {
    numKvHeads: 2,
  });
  const counts = hostTensor(new Uint32Array(4));
  const params = {
    batch,
    scores,
    target: { tokens: 10 },
    beta: 5,
    rule: "kvpress",
    counts,
  } as const;
  pyramidCounts.reference({ ...params, keepProtected: true });
  expect([...counts.data]).toEqual([18, 9, 2, 12]);
  pyramidCounts.reference({ ...params, keepProtected: false });
  expect([...counts.data]).toEqual([18, 9, 2, 2]);
});
