import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { mersenneTwister } from "../../src/mersenne-twister.ts";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { randomScore } from "./random-score.ts";

it("draws head by head for every position, again in every layer", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };
  const { cache, append, keep } = testCache(shape, { blockSize: 4 });
  append(0, 5);
  keep(0, 1, 1, [4, 1]);
  const batch = testBatch(cache, [0]);
  const out = hostTensor(new Float32Array(batch.totalSlots));
  randomScore.reference({ batch, seed: 42, out });
  const next = mersenneTwister(42);
  const drawn = Array.from({ length: 10 }, () => (next() % 2 ** 24) / 2 ** 24);
  expect([...out.data]).toEqual([...drawn, ...drawn.slice(0, 5), drawn[9], drawn[6]]);
});
