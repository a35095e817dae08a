import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { blockBounds, blockIndptr, boundScores, readCounts } from "./block-bounds.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 3 };
const random = randomNumbers(2);
const test = testCache(shape, { blockSize: 4, windowSize: 5 });
test.append(1, 18);
for (let layer = 0; layer < 2; layer++)
  for (let head = 0; head < 2; head++) test.writeKeys(1, layer, head, randomFloats(random, 18 * 3));
test.keep(1, 1, 1, [17, 3, 2, 9, 11, 16]);
test.cache.windowQueries.set(randomFloats(random, test.cache.windowQueries.length));
const batch = testBatch(test.cache, [1]);
const indptr = blockIndptr(batch);
const blocks = indptr[4]!;
const tensor = (length: number) => hostTensor(new Float32Array(length));
const [low, high, scores] = [tensor(blocks * 3), tensor(blocks * 3), tensor(blocks)];

it("counts blocks of ragged rows", () => {
  expect([...indptr]).toEqual([0, 5, 10, 15, 17]);
});

it("bounds every logit of a block, and meets the bound of a block of one token", () => {
  blockBounds.reference({ batch, low, high });
  boundScores.reference({ batch, low, high, out: scores });
  for (let row = 0; row < 4; row++) {
    const keys = gatherKeys(rowView(test.cache, 1, row >> 1, row % 2));
    const ring = ((2 + (row >> 1)) * 5 + 2) * 4;
    for (let block = 0; block < indptr[row + 1]! - indptr[row]!; block++) {
      const own = keys.subarray(block * 12, (block + 1) * 12);
      const logits = [0, 1].flatMap((member) =>
        Array.from({ length: own.length / 3 }, (_, j) =>
          [0, 1, 2].reduce((dot, c) => {
            const q = test.cache.windowQueries[(ring + (row % 2) * 2 + member) * 3 + c]!;
            return dot + q * own[j * 3 + c]!;
          }, 0),
        ),
      );
      const bound = scores.data[indptr[row]! + block]!;
      const largest = Math.max(...logits);
      expect(bound).toBeGreaterThanOrEqual(largest - 1e-6);
      if (logits.length === 2) expect(bound).toBeCloseTo(largest, 5);
    }
  }
});

it("reads whole blocks, the current one among them, all of dense layers", () => {
  const counts = hostTensor(new Uint32Array(4));
  const rule = { tokens: 9, minBlocks: 1, denseLayers: 1, alwaysCurrent: true };
  readCounts.reference({ batch, scores, counts, ...rule });
  // The last row is no longer than that.
  expect([...counts.data]).toEqual([5, 5, 2, 2]);
  const ranked = { ...rule, alwaysCurrent: false };
  readCounts.reference({ batch, scores, counts, ...ranked });
  expect([...counts.data]).toEqual([5, 5, 2, 1]);
  expect(scores.data[14]).toBe(Number.POSITIVE_INFINITY);
  readCounts.reference({ batch, scores, counts, ...rule, minBlocks: 3, denseLayers: 0 });
  expect([...counts.data]).toEqual([3, 3, 3, 2]);
});
