import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { distanceRank, stretchOf } from "./distance-rank.ts";

it("puts a distance into the stretch whose end is beyond it", () => {
  expect([0, 3, 4, 9, 10, 99].map((distance) => stretchOf(distance, [4, 10]))).toEqual([
    0, 0, 1, 1, 2, 2,
  ]);
});

it("gives a token its head's rank for its distance from the end", () => {
  const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };
  const { cache, append, keep } = testCache(shape, { blockSize: 4 });
  append(0, 6);
  keep(0, 0, 1, [5, 0, 3]);
  const batch = testBatch(cache, [0]);
  const out = hostTensor(new Float32Array(9));
  const ranks = hostTensor(Uint32Array.of(10, 11, 12, 20, 21, 22));
  distanceRank.reference({ batch, edges: [2, 4], ranks, out });
  expect([...out.data]).toEqual([12, 12, 11, 11, 10, 10, 20, 22, 21]);
});
