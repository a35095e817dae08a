import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { keyDiff } from "./key-diff.ts";

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 6 };

function scored(prepare: (made: ReturnType<typeof testCache>) => void) {
  const made = testCache(shape, { blockSize: 4 });
  prepare(made);
  const batch = testBatch(made.cache, [0]);
  const out = hostTensor(new Float32Array(batch.totalSlots));
  keyDiff.reference({ batch, out });
  return { cache: made.cache, scores: [...out.data] };
}

const random = (seed: number) => (made: ReturnType<typeof testCache>) => {
  const numbers = randomNumbers(seed);
  made.append(0, 21);
  for (let row = 0; row < 4; row++)
    made.writeKeys(0, row >> 1, row & 1, randomFloats(numbers, 21 * 6));
  made.keep(0, 1, 0, [20, 3, 7, 0]);
};

it("is minus the cosine to the mean of unit keys", () => {
  const { cache, scores } = scored(random(3));
  let at = 0;
  for (let row = 0; row < 4; row++) {
    const all = gatherKeys(rowView(cache, 0, row >> 1, row & 1));
    const keys = Array.from({ length: all.length / 6 }, (_, j) => [...all.slice(j * 6, j * 6 + 6)]);
    const units = keys.map((key) => key.map((x) => x / Math.hypot(...key)));
    const mean = units[0]!.map(
      (_, c) => units.reduce((sum, unit) => sum + unit[c]!, 0) / units.length,
    );
    for (const unit of units) {
      const dot = unit.reduce((sum, x, c) => sum + x * mean[c]!, 0);
      expect(scores[at++]).toBeCloseTo(-dot / Math.hypot(...mean), 6);
    }
  }
  expect(at).toBe(scores.length);
});

it("gives a key of the mean's direction −1, whatever its length, and a zero key 0", () => {
  const { scores } = scored(({ append, writeKeys }) => {
    append(0, 3);
    const keys = Float32Array.from([2, 0, 0, 0, 0, 0, 0.001, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    for (let row = 0; row < 4; row++) writeKeys(0, row >> 1, row & 1, keys);
  });
  expect(scores.slice(0, 3)).toEqual([-1, -1, -0]);
});
