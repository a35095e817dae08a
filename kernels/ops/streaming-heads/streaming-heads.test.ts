import { expect, it } from "vitest";
import { lowestHeads, streamingHeads } from "./streaming-heads.ts";

const scores = Float64Array.from([0.9, 0.1, 0.5, 0.1, 0.7, 0.3]);
const streaming = (fraction: number, rule: "lowest" | "quantile") => [
  ...streamingHeads(scores, fraction, rule),
];

it("takes a rounded part of the heads, lowest first, ties to the earlier", () => {
  expect(streaming(0.5, "lowest")).toEqual([0, 1, 0, 1, 0, 1]);
  // 1.5 heads round to 2, 2.5 also.
  expect(streaming(0.25, "lowest")).toEqual([0, 1, 0, 1, 0, 0]);
  expect(streaming(2.5 / 6, "lowest")).toEqual([0, 1, 0, 1, 0, 0]);
  expect([...lowestHeads(scores, 1)]).toEqual([0, 1, 0, 0, 0, 0]);
  expect(streaming(0, "lowest")).toEqual(new Array(6).fill(0));
  expect(streaming(1, "lowest")).toEqual(new Array(6).fill(1));
});

it("takes what is below the interpolated quantile", () => {
  // Ascending: .1 .1 .3 .5 .7 .9; the median lies between .3 and .5.
  expect(streaming(0.5, "quantile")).toEqual([0, 1, 0, 1, 0, 1]);
  expect(streaming(0.4, "quantile")).toEqual([0, 1, 0, 1, 0, 0]);
  expect(streaming(0.41, "quantile")).toEqual([0, 1, 0, 1, 0, 1]);
  expect(streaming(0, "quantile")).toEqual(new Array(6).fill(0));
  expect(streaming(1, "quantile")).toEqual(new Array(6).fill(1));
});
