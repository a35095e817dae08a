import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { complement, nearestKept } from "./nearest-kept.ts";

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 5 };

it("names the kept slot with the most similar key for every slot that goes", () => {
  const random = randomNumbers(3);
  const { cache, append, keep, writeKeys } = testCache(shape, { blockSize: 4 });
  append(1, 47);
  for (let layer = 0; layer < 2; layer++)
    for (let head = 0; head < 2; head++) writeKeys(1, layer, head, randomFloats(random, 47 * 5));
  keep(1, 1, 0, [40, 3, 17, 9, 22]);
  const batch = testBatch(cache, [1]);
  const rows = [
    Array.from({ length: 47 }, (_, slot) => slot).filter((slot) => slot % 5 === 1),
    Array.from({ length: 47 }, (_, slot) => slot),
    [2, 4],
    [46],
  ];
  const indptr = hostTensor(Uint32Array.of(0, 10, 57, 59, 60));
  const kept = { indptr, indices: hostTensor(Uint32Array.from(rows.flat())) };
  const nearest = hostTensor(new Uint32Array(batch.totalSlots).fill(9));
  const similarity = hostTensor(new Float32Array(batch.totalSlots).fill(9));
  nearestKept.reference({ batch, keep: kept, nearest, similarity });
  let at = 0;
  rows.forEach((own, row) => {
    const keys = gatherKeys(rowView(cache, 1, row >> 1, row & 1));
    const key = (slot: number) => [...keys.subarray(slot * 5, slot * 5 + 5)];
    for (let slot = 0; slot < keys.length / 5; slot++, at++) {
      if (own.includes(slot)) {
        expect([nearest.data[at], similarity.data[at]]).toEqual([0, 0]);
        continue;
      }
      const cosines = own.map((other) => {
        const dot = key(slot).reduce((sum, x, c) => sum + x * key(other)[c]!, 0);
        return dot / Math.hypot(...key(slot)) / Math.hypot(...key(other));
      });
      const best = Math.max(...cosines);
      expect(nearest.data[at]).toBe(own[cosines.indexOf(best)]);
      expect(similarity.data[at]).toBeCloseTo(best, 6);
    }
  });
  expect(at).toBe(batch.totalSlots);
});

it("lists what is not kept", () => {
  expect([...complement(6, Uint32Array.of(0, 3, 5))]).toEqual([1, 2, 4]);
  expect([...complement(2, Uint32Array.of())]).toEqual([0, 1]);
});
