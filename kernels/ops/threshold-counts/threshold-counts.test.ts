import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { thresholdCounts } from "./threshold-counts.ts";

const inf = Number.POSITIVE_INFINITY;

it("counts what reaches a threshold, under the target and never nothing", () => {
  const { batch, scores } = scoreTable([
    [
      [1, 2, 3, 4],
      [inf, inf, 0, 0],
      [0, 0, 0],
    ],
  ]);
  const count = (threshold: number | undefined, tokens: number) => {
    const counts = hostTensor(new Uint32Array(3));
    thresholdCounts.reference({ batch, target: { tokens }, scores, threshold, counts });
    return [...counts.data];
  };
  expect(count(2, 9)).toEqual([3, 2, 1]);
  expect(count(2, 1)).toEqual([1, 2, 1]);
  expect(count(undefined, 9)).toEqual([4, 4, 3]);
});
