import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { lazyLayers } from "./lazy-layers.ts";

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };

function run(tokens: number, threshold: number) {
  const { cache, append, keep } = testCache(shape, { blockSize: 4 });
  append(0, tokens);
  keep(
    0,
    1,
    1,
    Array.from({ length: tokens - 1 }, (_, j) => tokens - 1 - j),
  );
  const batch = testBatch(cache, [0]);
  // Layer 0 looks at the first token, layer 1 at the one in the middle.
  const weights = new Float32Array(batch.totalSlots);
  weights[0] = 0.9;
  weights[tokens] = 0.5;
  weights[2 * tokens + (tokens >> 1)] = 1;
  const lazyScores = hostTensor(new Float32Array(2));
  const counts = hostTensor(new Uint32Array(4));
  lazyLayers.reference({
    batch,
    attention: hostTensor(weights),
    sinks: 2,
    recent: 4,
    last: 1,
    threshold,
    lazyScores,
    counts,
  });
  return { scores: [...lazyScores.data], counts: [...counts.data] };
}

it("cuts the layers down that look at both ends only", () => {
  const { scores, counts } = run(20, 0.5);
  expect(scores[0]).toBeCloseTo(0.7, 6);
  expect(scores[1]).toBe(0);
  expect(counts).toEqual([5, 5, 20, 19]);
});

it("leaves short rows alone, and everything at a threshold of 1 or more", () => {
  expect(run(7, 0.5).counts).toEqual([7, 7, 7, 6]);
  expect(run(8, 0.5).counts).toEqual([5, 5, 8, 7]);
  expect(run(20, 1).counts).toEqual([20, 20, 20, 19]);
});
