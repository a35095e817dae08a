import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { readVector } from "../../src/test-vectors.ts";
import { keyNorm } from "./key-norm.ts";

it("agrees with kvpress", () => {
  const vector = readVector(
    new URL("./__fixtures__/", import.meta.url),
    "knorm-llama-l2-h4x4-d8-n33-r30",
  );
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 4, headDim: 8 };
  const { cache, append, writeKeys } = testCache(shape);
  append(0, 33);
  const keys = vector.tensor("keys").data;
  for (let row = 0; row < 8; row++)
    writeKeys(0, row >> 2, row & 3, keys.subarray(row * 33 * 8, (row + 1) * 33 * 8));
  const batch = testBatch(cache, [0]);
  const out = hostTensor(new Float32Array(batch.totalSlots));
  keyNorm.reference({ batch, out });
  vector.tensor("scores").data.forEach((expected, i) => {
    expect(Math.abs(out.data[i]! - expected)).toBeLessThanOrEqual(1e-5 * Math.abs(expected));
  });
});

it("reads ragged rows of several sequences and some layers, stored as halves", () => {
  const shape = { numLayers: 3, numQueryHeads: 2, numKvHeads: 2, headDim: 5 };
  const random = randomNumbers(1);
  const { cache, append, keep, writeKeys } = testCache(shape, {
    dtype: "f16",
    blockSize: 4,
    maxSequences: 3,
  });
  for (const sequence of [0, 2]) {
    append(sequence, 11 + sequence);
    for (let layer = 0; layer < 3; layer++)
      for (let head = 0; head < 2; head++)
        writeKeys(sequence, layer, head, randomFloats(random, (11 + sequence) * 5));
  }
  keep(2, 1, 1, [9, 1, 4]);
  keep(0, 2, 0, []);
  const batch = testBatch(cache, [2, 0], { layers: [1, 2] });
  const out = hostTensor(new Float32Array(batch.totalSlots));
  keyNorm.reference({ batch, out });
  const expected = [2, 0].flatMap((sequence) =>
    [1, 2].flatMap((layer) =>
      [0, 1].flatMap((head) => {
        const keys = gatherKeys(rowView(cache, sequence, layer, head));
        return Array.from({ length: keys.length / 5 }, (_, j) =>
          Math.fround(-Math.hypot(...keys.subarray(j * 5, j * 5 + 5))),
        );
      }),
    ),
  );
  expect(out.data.length).toBe(13 + 3 + 13 + 13 + 11 + 11 + 0 + 11);
  expected.forEach((value, i) => {
    expect(out.data[i]).toBeCloseTo(value, 6);
  });
  expect(keyNorm.native!({ batch, out }).integers).toEqual([out.length, 2, 2]);
});
