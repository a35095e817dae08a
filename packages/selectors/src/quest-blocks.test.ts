import { hostArray, type KeepSet } from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { type TokenCache, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type QuestBlocksOptions, questBlocks } from "./quest-blocks.ts";

const shape = { numLayers: 3, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const n = 27;
const decoded = (blockSize: number) => {
  const made = tokenCache({
    shape,
    seed: 12,
    sequences: 1,
    maxTokens: 40,
    windowSize: 1,
    blockSize,
  });
  made.feed(0, n - 1, { flags: 1 });
  made.feed(0, 1, { flags: 1 });
  return made;
};

/** Blocks that each row reads. */
function blocksOf(made: TokenCache, options: QuestBlocksOptions): number[][] {
  const batch = { ...made.batch("decode"), windowLengths: [1] };
  const keep: KeepSet = questBlocks(options).selectBlocks(createHostEncoder(), batch);
  const indptr = hostArray(keep.indptr, "u32");
  return Array.from({ length: batch.numRows }, (_, row) => [
    ...hostArray(keep.indices, "u32").subarray(indptr[row]!, indptr[row + 1]!),
  ]);
}

it("reads the tokens of the largest logits where bounds are tight", () => {
  const made = decoded(1);
  const rows = blocksOf(made, { tokens: 5, minBlocks: 1, alwaysCurrent: false, denseLayers: 1 });
  const all = Array.from({ length: n }, (_, j) => j);
  expect(rows.slice(0, 2)).toEqual([all, all]);
  rows.slice(2).forEach((got, row) => {
    const [layer, head] = [1 + (row >> 1), row % 2];
    const { query } = made.tokens(0, layer, n - 1);
    const logit = all.map((j) => {
      const key = made.tokens(0, layer, j).key.subarray(head * 4, head * 4 + 4);
      const dots = [0, 1].map((member) =>
        key.reduce((dot, k, c) => dot + k * query[(head * 2 + member) * 4 + c]!, 0),
      );
      return Math.max(...dots);
    });
    const best = [...all].sort((a, b) => logit[b]! - logit[a]!).slice(0, 5);
    expect(got).toEqual(best.sort((a, b) => a - b));
  });
});

it("reads everything within the budget, and the current block always", () => {
  const made = decoded(4);
  for (const own of blocksOf(made, { tokens: 28, minBlocks: 7 })) expect(own).toHaveLength(7);
  for (const own of blocksOf(made, { tokens: 8, minBlocks: 1, denseLayers: 0 })) {
    expect(own).toHaveLength(2);
    expect(own).toContain(6);
  }
});

it("refuses options that are out of range", () => {
  expect(() => questBlocks({ tokens: 0 })).toThrow("tokens must be");
  expect(() => questBlocks({ tokens: 9, denseLayers: -1 })).toThrow("denseLayers");
});
