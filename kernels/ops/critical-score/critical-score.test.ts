import { type BudgetTarget, hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { type CriticalScoreParams, criticalScore } from "./critical-score.ts";

const inf = Number.POSITIVE_INFINITY;

function run(
  row: readonly number[],
  target: BudgetTarget | undefined,
  count: number,
  options: Partial<CriticalScoreParams>,
) {
  const { batch, scores } = scoreTable([[row]]);
  const out = hostTensor(new Float32Array(row.length));
  criticalScore.reference({
    batch,
    target,
    scores,
    counts: hostTensor(Uint32Array.of(count)),
    norms: hostTensor(Float32Array.from(row, (_, j) => j + 1)),
    epsilon: 0,
    firstStage: 0.5,
    safeguard: undefined,
    out,
    ...options,
  });
  return [...out.data];
}
const forced = (values: readonly number[]) => values.filter((value) => value === inf).length;

it("multiplies what the first stage leaves, ties to the lower slot", () => {
  expect(run([3, 5, 3, 1], { tokens: 4 }, 4, { epsilon: 0.5 })).toEqual([inf, inf, 10.5, 6]);
});

it("counts protected slots in the first stage and keeps them out of the second", () => {
  expect(run([1, inf, 2, inf], { tokens: 4 }, 4, {})).toEqual([1, inf, 6, inf]);
});

it("takes a fraction of the uncut share, or of the row's own count", () => {
  const row = Array.from({ length: 70 }, (_, j) => 70 - j);
  const stage = (options: Partial<CriticalScoreParams>, target?: BudgetTarget, count = 17) =>
    forced(run(row, target, count, { firstStage: 0.7, ...options }));
  // 70 × 0.25 × 0.7 = 12.25, of 17 whole tokens it would be 11.
  expect(stage({}, { ratio: 0.25 })).toBe(12);
  expect(stage({})).toBe(11);
  expect(stage({ firstStage: 0 }, { ratio: 0.25 })).toBe(1);
  expect(stage({ safeguard: 0.2 }, { ratio: 0.25 })).toBe(11);
  expect(stage({ safeguard: 0.2, firstStage: 0 }, { ratio: 0.25 })).toBe(3);
  expect(stage({ safeguard: 0.01, firstStage: 0 }, { ratio: 0.25 })).toBe(1);
  expect(stage({ safeguard: 0, firstStage: 0 }, { ratio: 0.25 })).toBe(0);
  // Never more than the row keeps.
  expect(stage({ safeguard: 1 }, { tokens: 30 }, 5)).toBe(5);
});
