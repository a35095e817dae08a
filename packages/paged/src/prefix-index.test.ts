import { expect, test } from "vitest";
import { codeOf, compactTo, smallLayout } from "./__fixtures__/small-cache.ts";
import { readRow, writeEntries } from "./entries.ts";
import { createPagedCache, type PagedCacheOptions } from "./paged-cache.ts";

const cacheOf = (options: Partial<PagedCacheOptions> = {}) =>
  createPagedCache({
    layout: smallLayout(),
    numBlocks: 8,
    maxTokensPerSequence: 32,
    windowSize: 2,
    ...options,
  });
type Cache = ReturnType<typeof cacheOf>;
const arenaOf = (cache: Cache) => cache.stats().arenas[0]!;
const ids = (length: number, first = 0) => Int32Array.from({ length }, (_, i) => first + i);
const key = (tokenIds: Int32Array, namespace = "model") => ({ namespace, tokenIds });

/** Opens a sequence of n tokens whose keys are its token ids, and publishes it. */
function published(cache: Cache, tokenIds: Int32Array, namespace = "model") {
  const sequence = cache.open();
  cache.append(sequence, tokenIds.length);
  const keys = Float32Array.from({ length: 2 * tokenIds.length }, (_, i) => tokenIds[i >> 1]!);
  writeEntries(cache, sequence, 0, 0, keys);
  cache.prefixes.publish(sequence, key(tokenIds, namespace), tokenIds.length);
  return sequence;
}

test("whole blocks of a published prompt are shared, up to the limit", () => {
  const cache = cacheOf();
  cache.close(published(cache, ids(11)));
  expect(arenaOf(cache)).toMatchObject({ freeBlocks: 6, reclaimableBlocks: 2 });
  expect(cache.stats().residentBytes).toBe(2 * 64);
  const { lookup } = cache.prefixes;
  expect([lookup(key(ids(11)), 11), lookup(key(ids(11)), 7), lookup(key(ids(6)), 6)]).toEqual([
    8, 4, 4,
  ]);
  expect([lookup(key(ids(11, 1)), 11), lookup(key(ids(11), "other"), 11)]).toEqual([0, 0]);
  const sequence = cache.open();
  expect(cache.prefixes.adopt(sequence, key(ids(20)), 20)).toBe(8);
  expect(arenaOf(cache)).toMatchObject({ freeBlocks: 6, reclaimableBlocks: 0 });
  const { keys, positions } = readRow(cache, sequence, 0, 0);
  expect([...positions]).toEqual([...ids(8)]);
  expect([...keys].filter((_, i) => i % 2 === 0)).toEqual([...ids(8)]);
  expect(cache.sequenceStats(sequence).nextPosition).toBe(8);
  expect(cache.windowLength(sequence)).toBe(0);
  expect(codeOf(() => cache.prefixes.adopt(sequence, key(ids(20)), 20))).toBe("invalid-argument");
});

test("a group is found below its own predecessor only", () => {
  const cache = cacheOf();
  cache.close(published(cache, Int32Array.of(1, 1, 1, 1, 5, 5, 5, 5)));
  const other = Int32Array.of(2, 2, 2, 2, 5, 5, 5, 5);
  expect(cache.prefixes.lookup(key(other), 8)).toBe(0);
  cache.close(published(cache, other));
  const sequence = cache.open();
  cache.prefixes.adopt(sequence, key(other), 8);
  expect([...readRow(cache, sequence, 0, 0).keys.slice(0, 2)]).toEqual([2, 2]);
});

test("blocks that only the index holds are given back, oldest prompts and last groups first", () => {
  const cache = cacheOf();
  cache.close(published(cache, ids(12)));
  cache.close(published(cache, ids(12, 100)));
  cache.prefixes.adopt(cache.open(), key(ids(4)), 4);
  expect(arenaOf(cache)).toMatchObject({ freeBlocks: 2, reclaimableBlocks: 5 });
  expect([cache.canTake([7]), cache.canTake([8])]).toEqual([true, false]);
  const sequence = cache.open();
  cache.append(sequence, 16);
  // Two blocks were missing: the ends of the prompts, since each prompt's start was used later.
  const lookup = (first: number) => cache.prefixes.lookup(key(ids(12, first)), 12);
  expect(lookup(0) + lookup(100)).toBe(16);
  cache.append(sequence, 12);
  expect([lookup(0), lookup(100)]).toEqual([4, 0]);
  expect(codeOf(() => cache.append(sequence, 1))).toBe("out-of-blocks");
});

test("the index holds at most its bytes", () => {
  const cache = cacheOf({ prefixBytes: 3 * 64 });
  cache.close(published(cache, ids(8)));
  cache.close(published(cache, ids(16, 50)));
  expect(arenaOf(cache).freeBlocks).toBe(5);
  expect(cache.prefixes.lookup(key(ids(8)), 8)).toBe(0);
  expect(cache.prefixes.lookup(key(ids(16, 50)), 16)).toBe(12);
});

test("clear forgets a namespace or everything", () => {
  const cache = cacheOf();
  cache.close(published(cache, ids(8), "a"));
  cache.close(published(cache, ids(8), "b"));
  cache.prefixes.clear("a");
  expect(cache.prefixes.lookup(key(ids(8), "a"), 8)).toBe(0);
  expect(cache.prefixes.lookup(key(ids(8), "b"), 8)).toBe(8);
  cache.prefixes.clear();
  expect(arenaOf(cache)).toMatchObject({ freeBlocks: 8, reclaimableBlocks: 0 });
});

test("a compressed prompt comes back whole: slots, positions, window queries", async () => {
  const cache = cacheOf();
  const first = cache.open();
  cache.append(first, 7);
  writeEntries(
    cache,
    first,
    0,
    0,
    Float32Array.from({ length: 14 }, (_, i) => i),
  );
  cache.host.windowQueries.set([1, 2, 3, 4]);
  await compactTo(cache, first, [[0, 2, 3, 5, 6]]);
  expect(codeOf(() => cache.prefixes.publish(first, key(ids(7)), 4))).toBe("invalid-argument");
  cache.prefixes.publishCompressed(first, key(ids(7)), "plan");
  const wanted = readRow(cache, first, 0, 0);
  // The partly filled block is shared now: the publisher writes to a copy of it.
  cache.append(first, 1);
  writeEntries(cache, first, 0, 0, Float32Array.of(99, 99));
  cache.close(first);

  const second = cache.open();
  const { adoptCompressed } = cache.prefixes;
  expect(adoptCompressed(second, key(ids(7)), "other plan")).toBe(false);
  expect(adoptCompressed(second, key(ids(8)), "plan")).toBe(false);
  cache.host.windowQueries.fill(0);
  expect(adoptCompressed(second, key(ids(7)), "plan")).toBe(true);
  expect(readRow(cache, second, 0, 0)).toEqual(wanted);
  expect(cache.sequenceStats(second).nextPosition).toBe(7);
  expect(cache.windowLength(second)).toBe(2);
  const ring = second * 4;
  expect([...cache.host.windowQueries.subarray(ring, ring + 4)]).toEqual([1, 2, 3, 4]);
  cache.append(second, 1);
  expect([...readRow(cache, second, 0, 0).positions].at(-1)).toBe(7);
});

test("without a free block the index gives way, so that its sharer may write in place", () => {
  const cache = cacheOf({ numBlocks: 2 });
  const sequence = cache.open();
  cache.append(sequence, 6);
  cache.prefixes.publishCompressed(sequence, key(ids(6)), "plan");
  cache.append(sequence, 1);
  expect([...readRow(cache, sequence, 0, 0).positions]).toEqual([...ids(7)]);
  cache.truncate(sequence, 0);
  expect(arenaOf(cache)).toMatchObject({ freeBlocks: 2, reclaimableBlocks: 0 });
});

test("adopting takes no block that somebody else was promised", () => {
  const cache = cacheOf({ numBlocks: 4 });
  cache.close(published(cache, ids(16)));
  const [first, second] = [cache.open(), cache.open()];
  cache.reserve(first, 12);
  expect(cache.prefixes.adopt(second, key(ids(16)), 16)).toBe(4);
  cache.append(first, 12);
  // A promise of one's own is drawn upon instead.
  const third = cacheOf({ numBlocks: 4 });
  third.close(published(third, ids(16)));
  const adopter = third.open();
  third.reserve(adopter, 16);
  expect(third.prefixes.adopt(adopter, key(ids(16)), 16)).toBe(16);
  expect(arenaOf(third).reservedBlocks).toBe(0);
});

test("adopting a block whose publisher was promised room leaves room for the copy", () => {
  const cache = cacheOf({ numBlocks: 3 });
  const first = cache.open();
  cache.append(first, 6);
  cache.prefixes.publishCompressed(first, key(ids(6)), "plan");
  cache.reserve(first, 2);
  expect(arenaOf(cache).reservedBlocks).toBe(0);
  const second = cache.open();
  expect(cache.prefixes.adoptCompressed(second, key(ids(6)), "plan")).toBe(true);
  expect(arenaOf(cache).reservedBlocks).toBe(1);
  expect(codeOf(() => cache.append(second, 1))).toBe("out-of-blocks");
  cache.append(first, 2);
});
