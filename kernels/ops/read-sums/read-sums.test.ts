import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { rowView, slotOf } from "../../src/row-view.ts";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { addSums } from "../add-sums/add-sums.ts";
import { positionScore } from "../position-score/position-score.ts";
import { readSums } from "./read-sums.ts";

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };

it("reads what was added, slot by slot, each power from its own channel", () => {
  const { cache, append, keep } = testCache(shape, { blockSize: 4 });
  append(0, 6);
  append(1, 11);
  for (const arena of cache.arenas) {
    arena.sumAttention.fill(0.5);
    arena.sumSquaredAttention.fill(0);
  }
  keep(1, 1, 0, [9, 2, 4]);
  const batch = testBatch(cache, [1, 0]);
  const values = hostTensor(Float32Array.from({ length: batch.totalSlots }, (_, i) => i));
  const out = hostTensor(new Float32Array(batch.totalSlots));
  addSums.reference({ batch, power: 2, values });
  addSums.reference({ batch, power: 2, values });
  readSums.reference({ batch, power: 2, out });
  expect([...out.data]).toEqual(Array.from(values.data, (value) => 2 * value));
  readSums.reference({ batch, power: 1, out });
  expect(new Set(out.data)).toEqual(new Set([0.5]));
  const view = rowView(cache, 1, 1, 0);
  // Rows of sequence 1: 11, 11, then the row of three.
  expect(view.arena.sumSquaredAttention[slotOf(view, 1)]).toBe(2 * 23);
});

it("scores a token by its true position", () => {
  const { cache, append, keep } = testCache(shape, { blockSize: 4 });
  append(0, 5);
  keep(0, 0, 1, [4, 0, 3]);
  const batch = testBatch(cache, [0], { layers: [0] });
  const out = hostTensor(new Float32Array(batch.totalSlots));
  positionScore.reference({ batch, out });
  expect([...out.data]).toEqual([0, 1, 2, 3, 4, 4, 0, 3]);
});
