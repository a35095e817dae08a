import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { preference } from "./preference.ts";
import { preferredBudgets } from "./preferred-budgets.ts";
import { spreadCounts } from "./spread-counts.ts";

it("shares in proportion, what is cut off first to the first", () => {
  expect(preferredBudgets([1, 1, 1, 1], 40, 99)).toEqual([10, 10, 10, 10]);
  expect(preferredBudgets([1, 2, 4], 10, 99)).toEqual([2, 3, 5]);
  expect(preferredBudgets([0, 0, 0], 9, 99)).toEqual([3, 3, 3]);
});

it("spreads what is above the limit evenly, once", () => {
  // 64 of 80 go to the first: 40 too much, 20 for each other.
  expect(preferredBudgets([8, 1, 1], 80, 24)).toEqual([24, 24, 24]);
  expect(preferredBudgets([8, 1, 1], 60, 30)).toEqual([30, 15, 15]);
});

it("is exact where no limit bites", () => {
  const weights = fc.array(fc.integer({ min: 1, max: 99 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(weights, fc.nat(500), (preferences, total) => {
      const budgets = preferredBudgets(preferences, total, 1e6);
      expect(budgets.reduce((a, b) => a + b)).toBe(total);
      const sum = preferences.reduce((a, b) => a + b);
      budgets.forEach((budget, i) => {
        expect(Math.abs(budget - (preferences[i]! / sum) * total)).toBeLessThan(
          1 + preferences.length,
        );
      });
    }),
  );
});

it("keeps protected tokens beside the shares, and everything within the slack", () => {
  const inf = Number.POSITIVE_INFINITY;
  const row = [...new Array(18).fill(0), inf, inf];
  const { batch, scores } = scoreTable([[row, row]]);
  const counts = hostTensor(new Uint32Array(2));
  const run = (tokens: number, slack: number) => {
    spreadCounts.reference({
      ...{ batch, scores, slack, counts, target: { tokens } },
      preference: hostTensor(Float32Array.of(3, 1)),
    });
    return [...counts.data];
  };
  expect(run(6, 0)).toEqual([8, 4]);
  expect(run(15, 5)).toEqual([20, 20]);
  expect(run(14, 5)).toEqual([20, 8]);
});

it("weighs dispersion against shift", () => {
  const out = hostTensor(new Float32Array(2));
  const [dispersion, shift] = [
    hostTensor(Float32Array.of(4, 9)),
    hostTensor(Float32Array.of(2, 3)),
  ];
  preference.reference({ dispersion, shift, tau1: 2, tau2: 0.5, out });
  expect([...out.data]).toEqual([8, 27]);
});
