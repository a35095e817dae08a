import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import {
  type EntropyCountsParams,
  entropyCounts,
  entropyShares,
  scoreEntropy,
} from "./entropy-counts.ts";

const rowsOf = (...rows: number[][]) => rows.map((row) => Float64Array.from(row));

it("measures entropy against its largest value", () => {
  expect(scoreEntropy(rowsOf([2, 2], [2, 2]))).toBeCloseTo(1, 12);
  expect(scoreEntropy(rowsOf([0, 0], [5, 0]))).toBeCloseTo(0, 12);
  // −(½ ln ½ + 2 × ¼ ln ¼) / ln 3
  expect(scoreEntropy(rowsOf([2, 1, 1]))).toBeCloseTo((1.5 * Math.LN2) / Math.log(3), 12);
  expect(scoreEntropy(rowsOf([7]))).toBe(0);
});

it("cuts a layer's tokens to whole numbers, or hands out what that loses", () => {
  expect(entropyShares([1, 1, 1], 7, "reference", [9, 9, 9])).toEqual([7, 7, 7]);
  expect(entropyShares([1, 2, 2], 7, "reference", [9, 9, 9])).toEqual([4, 8, 8]);
  expect(entropyShares([1, 2, 2], 7, "exact", [9, 9, 9])).toEqual([4, 9, 8]);
  expect(entropyShares([0, 0], 7, "reference", [9, 9])).toEqual([7, 7]);
});

function run(rows: number[][], tokens: number, options: Partial<EntropyCountsParams> = {}) {
  const { batch, scores } = scoreTable([rows], { numKvHeads: rows.length });
  const counts = hostTensor(new Uint32Array(rows.length));
  const params = { batch, scores, counts, target: { tokens } };
  entropyCounts.reference({ ...params, floor: 0, rounding: "reference", ...options });
  return [...counts.data];
}

it("gives more to a head whose scores are scaled up, the rest of the layer less", () => {
  const row = [5, 4, 3, 2, 1, 1, 1, 1];
  expect(run([row, row], 4)).toEqual([4, 4]);
  expect(run([row, row.map((score) => 10 * score)], 4)).toEqual([1, 8]);
  expect(run([row, row.map((score) => 10 * score)], 4, { floor: 0.5 })).toEqual([2, 6]);
  expect(run([row, row.map((score) => 10 * score)], 4, { floor: 0.5, rounding: "exact" })).toEqual([
    2, 6,
  ]);
});
