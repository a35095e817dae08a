import { type BudgetTarget, hostTensor, type Kernel } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { aboveRankCounts, unprotectedCounts } from "./above-rank-counts.ts";
import { type PooledCountsParams, pooledCounts } from "./pooled-counts.ts";
import { wholeHeadCounts } from "./whole-head-counts.ts";

const inf = Number.POSITIVE_INFINITY;
type Rest = Omit<PooledCountsParams, "batch" | "target" | "scores" | "counts">;

/** Two layers of two heads; `sinks` tokens of each are protected. */
function run<P>(
  kernel: Kernel<P>,
  rows: number[][],
  target: BudgetTarget,
  rest: object,
  sinks = 0,
) {
  const { batch, scores } = scoreTable([rows], { numKvHeads: 2 });
  const counts = hostTensor(new Uint32Array(rows.length));
  const protect = { sinks, recent: 0 };
  const params: unknown = { batch: { ...batch, protect }, target, scores, counts, ...rest };
  kernel.reference(params as P);
  return [...counts.data];
}

const rows = [
  [9, 8, 7, 6, 5],
  [1, 1, 4, 1, 1],
  [3, 3, 3, 10, 2],
  [0, 0, 0, 0, 0],
];
const model: Rest = { scope: "model" };
const layer: Rest = { scope: "layer" };

it("shares a sequence's tokens out by score, one for each row", () => {
  // 20 entries, ⌊20 × .6⌋ = 12 go: 8 stay.
  expect(run(pooledCounts, rows, { ratio: 0.4 }, model)).toEqual([5, 1, 1, 1]);
  expect(run(pooledCounts, rows, { tokens: 3 }, model)).toEqual([5, 1, 5, 1]);
  expect(run(pooledCounts, rows, { ratio: 1 }, model)).toEqual([5, 5, 5, 5]);
});

it("shares within layers", () => {
  // 10 entries a layer, ⌊10 × .7⌋ = 7 go: 3 stay.
  expect(run(pooledCounts, rows, { ratio: 0.3 }, layer)).toEqual([2, 1, 2, 1]);
});

it("keeps what is protected whatever the target says", () => {
  const marked = rows.map(([, , ...rest]) => [inf, inf, ...rest]);
  expect(run(pooledCounts, marked, { ratio: 0.1 }, model)).toEqual([2, 2, 2, 2]);
  expect(run(pooledCounts, marked, { ratio: 0.5 }, model)).toEqual([3, 2, 3, 2]);
});

it("keeps only what is above the rank, beside what is protected", () => {
  // Rank ⌊20 × .5⌋ − 1 = 9 holds 3, which goes with its equals.
  expect(run(aboveRankCounts, rows, { ratio: 0.5 }, {})).toEqual([5, 1, 1, 1]);
  const marked = rows.map(([, ...rest]) => [inf, ...rest]);
  // 16 are free: rank ⌊16 × .25⌋ − 1 = 3 holds 6.
  expect(run(aboveRankCounts, marked, { ratio: 0.25 }, {}, 1)).toEqual([3, 1, 2, 1]);
  expect(run(aboveRankCounts, marked, { tokens: 2 }, {}, 1)).toEqual([3, 1, 2, 1]);
  expect(run(aboveRankCounts, rows, { ratio: 1 }, {})).toEqual([5, 5, 5, 5]);
});

it("gives every row the same number of free tokens", () => {
  const marked = rows.map(([, ...rest]) => [inf, ...rest]);
  expect(run(unprotectedCounts, marked, { ratio: 0.6 }, {}, 1)).toEqual([3, 3, 3, 3]);
  expect(run(unprotectedCounts, rows, { ratio: 0.1 }, {})).toEqual([1, 1, 1, 1]);
});

it("keeps the best heads whole", () => {
  const marked = rows.map(([, ...rest]) => [inf, ...rest]);
  expect(run(wholeHeadCounts, marked, { ratio: 0.5 }, {})).toEqual([5, 1, 5, 1]);
  expect(run(wholeHeadCounts, marked, { tokens: 2 }, {})).toEqual([1, 1, 5, 1]);
  const headScores = [0, 1, 0, 2];
  expect(run(wholeHeadCounts, marked, { ratio: 0.5 }, { headScores })).toEqual([1, 5, 1, 5]);
});
