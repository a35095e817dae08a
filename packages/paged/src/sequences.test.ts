import { cacheLayout } from "@kvcache/core";
import { expect, test } from "vitest";
import { codeOf, compactTo, smallLayout } from "./__fixtures__/small-cache.ts";
import { readRow, writeEntries } from "./entries.ts";
import { createPagedCache, type PagedCacheOptions } from "./paged-cache.ts";

const cacheOf = (options: Partial<PagedCacheOptions> = {}) =>
  createPagedCache({ layout: smallLayout(), numBlocks: 8, maxTokensPerSequence: 24, ...options });
type Cache = ReturnType<typeof cacheOf>;
const arenaOf = (cache: Cache) => cache.stats().arenas[0]!;
const positionsOf = (cache: Cache, sequence: number) => [
  ...readRow(cache, sequence, 0, 0).positions,
];

test("a fork shares all blocks and copies its last one when it writes", () => {
  const cache = cacheOf();
  const first = cache.open();
  cache.append(first, 6);
  writeEntries(
    cache,
    first,
    0,
    0,
    Float32Array.from({ length: 12 }, (_, i) => i),
  );
  const second = cache.fork(first);
  expect(arenaOf(cache).freeBlocks).toBe(6);
  cache.append(second, 1);
  expect(arenaOf(cache).freeBlocks).toBe(5);
  writeEntries(cache, second, 0, 0, Float32Array.of(70, 71));
  cache.append(first, 1);
  writeEntries(cache, first, 0, 0, Float32Array.of(60, 61));
  expect(arenaOf(cache).freeBlocks).toBe(5);
  expect([...readRow(cache, first, 0, 0).keys.slice(8)]).toEqual([8, 9, 10, 11, 60, 61]);
  expect([...readRow(cache, second, 0, 0).keys.slice(8)]).toEqual([8, 9, 10, 11, 70, 71]);
  cache.close(first);
  expect(positionsOf(cache, second)).toEqual([0, 1, 2, 3, 4, 5, 6]);
  cache.close(second);
  expect(arenaOf(cache).freeBlocks).toBe(8);
});

test("append takes all it needs or nothing", () => {
  const cache = cacheOf({ layout: smallLayout(3) });
  const sequence = cache.open();
  cache.append(sequence, 4);
  const tables = cache.host.blockTables.slice();
  expect(codeOf(() => cache.append(sequence, 5))).toBe("out-of-blocks");
  expect(cache.host.blockTables).toEqual(tables);
  expect([arenaOf(cache).freeBlocks, cache.sequenceStats(sequence).nextPosition]).toEqual([5, 4]);
  cache.append(sequence, 4);
  expect(arenaOf(cache).freeBlocks).toBe(2);
});

test("what is reserved can be appended, and nobody else can take it", () => {
  const cache = cacheOf();
  const [first, second] = [cache.open(), cache.open()];
  cache.append(first, 3);
  expect(cache.blocksToAppend(first, 10)).toEqual([3]);
  cache.reserve(first, 10);
  expect(arenaOf(cache).reservedBlocks).toBe(3);
  expect([cache.canTake([4]), cache.canTake([5])]).toEqual([true, false]);
  expect(codeOf(() => cache.append(second, 17))).toBe("out-of-blocks");
  expect(codeOf(() => cache.reserve(second, 17))).toBe("out-of-blocks");
  cache.append(second, 16);
  cache.append(first, 1);
  expect(arenaOf(cache).reservedBlocks).toBe(3);
  cache.append(first, 9);
  expect(arenaOf(cache)).toMatchObject({ reservedBlocks: 0, freeBlocks: 0 });
});

test("a promise follows forks: tails that are shared now must be copied", () => {
  const cache = cacheOf({ numBlocks: 3 });
  const first = cache.open();
  cache.append(first, 6);
  cache.reserve(first, 2);
  expect(arenaOf(cache).reservedBlocks).toBe(0);
  const second = cache.fork(first);
  expect(arenaOf(cache).reservedBlocks).toBe(1);
  expect(codeOf(() => cache.append(second, 1))).toBe("out-of-blocks");
  cache.append(first, 2);
  expect(arenaOf(cache)).toMatchObject({ reservedBlocks: 0, freeBlocks: 0 });
  cache.append(second, 1);
  cache.close(first);
  cache.reserve(second, 5);
  expect(codeOf(() => cache.reserve(second, 6))).toBe("out-of-blocks");
  cache.reserve(second, 0);
  expect(arenaOf(cache).reservedBlocks).toBe(0);
});

test("truncate into a block that a fork shares needs room to copy it, if more was promised", () => {
  const cache = cacheOf({ numBlocks: 2 });
  const first = cache.open();
  cache.append(first, 4);
  cache.fork(first);
  cache.reserve(first, 4);
  expect(codeOf(() => cache.truncate(first, 2))).toBe("out-of-blocks");
  expect(positionsOf(cache, first)).toEqual([0, 1, 2, 3]);
  cache.reserve(first, 2);
  cache.truncate(first, 2);
  cache.append(first, 2);
  expect(arenaOf(cache)).toMatchObject({ freeBlocks: 0, reservedBlocks: 0 });
});

test("a sequence cannot outgrow its block table, and only open sequences are served", () => {
  const cache = cacheOf({ maxSequences: 1, maxTokensPerSequence: 8 });
  const sequence = cache.open();
  expect(codeOf(() => cache.append(sequence, 9))).toBe("context-length-exceeded");
  expect(codeOf(() => cache.append(sequence, -1))).toBe("invalid-argument");
  expect(codeOf(() => cache.open())).toBe("out-of-blocks");
  cache.close(sequence);
  expect(codeOf(() => cache.close(sequence))).toBe("invalid-argument");
  expect(codeOf(() => cache.append(7, 1))).toBe("invalid-argument");
  cache.dispose();
  expect(codeOf(() => cache.open())).toBe("disposed");
});

test("truncate removes late positions wherever they stand", async () => {
  const cache = cacheOf({ windowSize: 4 });
  const sequence = cache.open();
  cache.append(sequence, 8);
  await compactTo(cache, sequence, [[1, 2, 5, 6, 7]]);
  expect(positionsOf(cache, sequence)).toEqual([7, 1, 2, 6, 5]);
  cache.truncate(sequence, 7);
  expect(positionsOf(cache, sequence)).toEqual([5, 1, 2, 6]);
  expect(cache.windowLength(sequence)).toBe(3);
  cache.append(sequence, 1);
  expect(positionsOf(cache, sequence)).toEqual([5, 1, 2, 6, 7]);
  expect(cache.windowLength(sequence)).toBe(4);
  cache.truncate(sequence, 0);
  expect([arenaOf(cache).freeBlocks, cache.windowLength(sequence)]).toEqual([8, 0]);
  expect(codeOf(() => cache.truncate(sequence, 1))).toBe("invalid-argument");
});

test("sliding-window layers give back what the next query cannot see", () => {
  const shape = { numLayers: 2, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };
  const layout = cacheLayout(shape, { blockSize: 4, slidingWindow: [undefined, 6] });
  const cache = cacheOf({ layout, numBlocks: 12 });
  const sequence = cache.open();
  cache.append(sequence, 8);
  // The next query stands at 8 and sees 3 … 8: block 0 … 3 still has a visible position.
  cache.releaseOutOfWindow(sequence);
  expect(cache.sequenceStats(sequence).blocks).toBe(4);
  cache.append(sequence, 1);
  cache.releaseOutOfWindow(sequence);
  expect([...cache.sequenceStats(sequence).lengths]).toEqual([9, 5]);
  expect([...readRow(cache, sequence, 1, 0).positions]).toEqual([4, 5, 6, 7, 8]);
});

test("what slides out of a window in time need not be reserved", () => {
  const shape = { numLayers: 2, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };
  const layout = cacheLayout(shape, { blockSize: 4, slidingWindow: [undefined, 6] });
  for (const chunk of [1, 3, 4, 7])
    for (const before of [0, 3, 12]) {
      const numBlocks = 64;
      const cache = cacheOf({ layout, numBlocks, maxTokensPerSequence: 200 });
      const sequence = cache.open();
      cache.append(sequence, before);
      const tokens = 60;
      expect(codeOf(() => cache.reserve(sequence, tokens, chunk))).toBe(undefined);
      const promised = arenaOf(cache).reservedBlocks;
      // All of the full layer; of the sliding one at most its window, two ragged blocks, one chunk.
      const full = Math.ceil((before + tokens) / 4) - Math.ceil(before / 4);
      expect(promised).toBeLessThanOrEqual(full + Math.ceil((6 + 4 + chunk) / 4));
      // Somebody else takes all the rest: what was promised must do.
      const other = cache.open();
      cache.append(other, Math.floor((numBlocks - 2 * Math.ceil(before / 4) - promised) / 2) * 4);
      for (let done = 0; done < tokens; done += chunk) {
        cache.append(sequence, Math.min(chunk, tokens - done));
        cache.releaseOutOfWindow(sequence);
        const { freeBlocks, reservedBlocks } = arenaOf(cache);
        expect(freeBlocks).toBeGreaterThanOrEqual(reservedBlocks);
      }
      expect(cache.sequenceStats(sequence).nextPosition).toBe(before + tokens);
    }
});

test("unshare leaves the others what they had", () => {
  const cache = cacheOf({ numBlocks: 5 });
  const first = cache.open();
  cache.append(first, 7);
  writeEntries(
    cache,
    first,
    0,
    0,
    Float32Array.from({ length: 14 }, (_, i) => i),
  );
  const second = cache.fork(first);
  cache.unshare(second);
  expect(arenaOf(cache).freeBlocks).toBe(1);
  cache.host.arenas[0]!.sumAttention.fill(0);
  const block = cache.host.blockTables[second * cache.host.maxBlocksPerRow]!;
  cache.host.arenas[0]!.sumAttention[block * 4] = 5;
  expect(readRow(cache, second, 0, 0)).toEqual(readRow(cache, first, 0, 0));
  expect(cache.host.blockTables[0]).not.toBe(block);
  expect(codeOf(() => cache.unshare(cache.fork(second)))).toBe("out-of-blocks");
});
