import { cacheLayout, hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { evenShare } from "./even-share.ts";
import { uniformCounts } from "./uniform-counts.ts";

const inf = Number.POSITIVE_INFINITY;
const run = (rows: number[][], target: { tokens: number } | { ratio: number }, keep: boolean) => {
  const { batch, scores } = scoreTable([rows], { numKvHeads: rows.length });
  const counts = hostTensor(new Uint32Array(batch.numRows));
  uniformCounts.reference({ batch, target, scores, keepProtected: keep, counts });
  return [...counts.data];
};

it("keeps the same number in every row, no more than a row has", () => {
  expect(run([[1, 2, 3, 4, 5], [1, 2], [7]], { tokens: 3 }, true)).toEqual([3, 2, 1]);
  expect(run([[1, 2, 3, 4, 5]], { ratio: 0.1 }, true)).toEqual([1]);
});

it("takes a ratio of the sequence's true length, not of what is left", () => {
  const { batch, scores } = scoreTable([[[1, 2, 3, 4, 5, 6]]], { nextPositions: [20] });
  const counts = hostTensor(new Uint32Array(1));
  const params = { batch, target: { ratio: 0.25 }, scores, keepProtected: true, counts };
  uniformCounts.reference(params);
  expect([...counts.data]).toEqual([5]);
});

it("keeps protected tokens beyond the target, or does not", () => {
  const rows = [
    [inf, 1, inf, inf],
    [1, 2, 3, inf],
  ];
  expect(run(rows, { tokens: 2 }, true)).toEqual([3, 2]);
  expect(run(rows, { tokens: 2 }, false)).toEqual([2, 2]);
});

it("refuses targets below what must stay, and says what they leave", () => {
  const layout = cacheLayout({ numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 4 });
  const request = {
    lengths: Uint32Array.of(10, 3),
    nextPosition: 10,
    layout,
    protect: { sinks: 1, recent: 3 },
  };
  expect([...evenShare({ ...request, target: { ratio: 0.1 } }, true)]).toEqual([4, 3]);
  expect([...evenShare({ ...request, target: { ratio: 0.1 } }, false)]).toEqual([1, 1]);
  // 2 rows × 4 numbers × 2 sides × 4 bytes = 64 bytes a token.
  expect([...evenShare({ ...request, target: { bytes: 64 * 6 + 63 } }, true)]).toEqual([6, 3]);
  expect(() => evenShare({ ...request, target: { tokens: 3 } }, true)).toThrow("4 must stay");
  expect(() => evenShare({ ...request, target: { bytes: 63 } }, false)).toThrow("leaves 0 tokens");
});
