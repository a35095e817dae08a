import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { rowView, slotOf } from "../../src/row-view.ts";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { readSums } from "../read-sums/read-sums.ts";
import { scaleSums } from "../scale-sums/scale-sums.ts";
import { averageQueries } from "./average-queries.ts";

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };

it("divides by the queries that could see a token", () => {
  const { cache, append, keep } = testCache(shape, { windowSize: 8 });
  append(0, 6);
  keep(0, 0, 1, [5, 1]);
  const batch = testBatch(cache, [0]);
  const means = (queries?: number) => {
    const values = hostTensor(new Float32Array(8).fill(12));
    averageQueries.reference({ batch, values, queries });
    return [...values.data];
  };
  // Positions 0 … 5, then 5 and 1; six queries so far.
  expect(means()).toEqual([2, 12 / 5, 3, 4, 6, 12, 12, 12 / 5].map(Math.fround));
  expect(means(3)).toEqual([4, 4, 4, 4, 6, 12, 12, 4]);
});

it("reads sums by a factor, and lets them fade in their own channel", () => {
  const { cache, append } = testCache(shape);
  append(0, 3);
  for (const arena of cache.arenas) {
    arena.sumAttention.fill(8);
    arena.sumSquaredAttention.fill(5);
  }
  const batch = testBatch(cache, [0]);
  const out = hostTensor(new Float32Array(6));
  scaleSums.reference({ batch, power: 1, factor: 0.25 });
  readSums.reference({ batch, power: 1, scale: 0.5, out });
  expect([...out.data]).toEqual(new Array(6).fill(1));
  readSums.reference({ batch, power: 2, out });
  expect([...out.data]).toEqual(new Array(6).fill(5));
  const view = rowView(cache, 0, 0, 0);
  expect(view.arena.sumAttention[slotOf(view, 0)]).toBe(2);
});
