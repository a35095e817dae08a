import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { keyProjection } from "./key-projection.ts";

it("projects the keys of ragged rows onto the directions of their heads", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 3 };
  const random = randomNumbers(3);
  const { cache, append, keep, writeKeys } = testCache(shape);
  append(0, 6);
  const keys = [0, 1].map((head) => {
    const own = randomFloats(random, 18);
    writeKeys(0, 1, head, own);
    return own;
  });
  keep(0, 1, 1, [5, 2]);
  const batch = testBatch(cache, [0], { layers: [1] });
  const directions = randomFloats(random, 12);
  const out = hostTensor(new Float32Array(batch.totalSlots));
  keyProjection.reference({ batch, directions, out });
  const slots = [0, 1, 2, 3, 4, 5].map((j) => [0, j]).concat([5, 2].map((j) => [1, j]));
  slots.forEach(([head, j], slot) => {
    const dot = [0, 1, 2].reduce(
      (sum, c) => sum + keys[head!]![j! * 3 + c]! * directions[6 + head! * 3 + c]!,
      0,
    );
    expect(out.data[slot]).toBeCloseTo(-dot, 6);
  });
});
