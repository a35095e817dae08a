import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { groupBudgets } from "./group-budgets.ts";
import { reviewWindowCounts } from "./review-window-counts.ts";

it("falls from group to group as published", () => {
  const published = [
    [512, 4, 8, [732, 586, 440, 292]],
    [1024, 4, 8, [1463, 1171, 879, 585]],
    [2048, 4, 8, [2926, 2341, 1756, 1170]],
    [512, 4, 7, [768, 598, 428, 256]],
    [1024, 4, 7, [1536, 1195, 854, 512]],
    [2048, 4, 7, [3072, 2390, 1708, 1024]],
  ] as const;
  for (const [tokens, groups, layers, budgets] of published)
    expect(groupBudgets(tokens, groups, layers, 14)).toEqual(budgets);
  expect(groupBudgets(100, 1, 8, 14)).toEqual([100]);
});

function run(windowScores: readonly number[], review: number, budget: number) {
  const inf = Number.POSITIVE_INFINITY;
  const row = Array.from({ length: review }, (_, j) => windowScores[Math.floor(j / 8)]!);
  const { batch, scores } = scoreTable([[[...row, inf, inf]]]);
  const counts = hostTensor(new Uint32Array(1));
  reviewWindowCounts.reference({ batch, scores, windowSize: 8, budgets: [[budget]], counts });
  return counts.data[0]! - 2;
}

it("drops as many whole windows as the budget is short of", () => {
  const falling = Array.from({ length: 13 }, (_, window) => 20 - window);
  // 13 windows of 100 tokens, ⌈60 / 8⌉ = 8 go.
  expect(run(falling, 100, 40)).toBe(40);
  // The last one, of four tokens, is among the five that stay.
  expect(run([...falling].reverse(), 100, 40)).toBe(36);
  expect(run(falling, 100, 100)).toBe(100);
  expect(run(falling, 100, Number.POSITIVE_INFINITY)).toBe(100);
  // 13 × 8 tokens are more than there are: only what is protected stays.
  expect(run(falling, 100, 3)).toBe(0);
});
