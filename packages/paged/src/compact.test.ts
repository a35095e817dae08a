import { cacheLayout, defineKernel, hostArray } from "@kvcache/core";
import { expect, test } from "vitest";
import {
  codeOf,
  compactTo,
  hostEncoder,
  keepSet,
  smallLayout,
} from "./__fixtures__/small-cache.ts";
import { readRow, writeEntries } from "./entries.ts";
import { type MoveParams, moveSlots } from "./move-slots.ts";
import { createPagedCache, type PagedCacheOptions } from "./paged-cache.ts";

const protect = { sinks: 0, recent: 0 };

function cacheOf(heads: number, options: Partial<PagedCacheOptions> = {}) {
  const layout = smallLayout(heads);
  return createPagedCache({ layout, numBlocks: 16, maxTokensPerSequence: 32, ...options });
}

const all = (n: number, ...evicted: number[]) =>
  [...Array(n).keys()].filter((slot) => !evicted.includes(slot));

/** Moves that `compact` makes, as slots of the row. */
async function movesOf(n: number, evicted: readonly number[]): Promise<number[][]> {
  const moves: number[][] = [];
  const compaction = defineKernel<MoveParams>({
    name: "spy",
    reference({ arena, moves: tensor }) {
      const pairs = hostArray(tensor, "i32");
      for (let i = 0; i < pairs.length; i += 2) moves.push([...pairs.subarray(i, i + 2)]);
      moveSlots(arena, pairs);
    },
  });
  const cache = cacheOf(1, { compaction });
  const sequence = cache.open();
  cache.append(sequence, n);
  await compactTo(cache, sequence, [all(n, ...evicted)]);
  // The first row of a fresh cache owns blocks 0, 1, …: physical slots are slots of the row.
  expect(cache.host.lengths[0]).toBe(n - evicted.length);
  return moves;
}

test("the worked example of KV-Compress, block size 4", async () => {
  expect(await movesOf(9, [0])).toEqual([[8, 0]]);
  expect(await movesOf(9, [0, 1, 2, 4, 5])).toEqual([
    [8, 0],
    [7, 1],
    [6, 2],
  ]);
  expect(await movesOf(10, [1, 4])).toEqual([
    [9, 1],
    [8, 4],
  ]);
});

test("two heads keep different numbers of tokens; emptied blocks are free at once", async () => {
  const cache = cacheOf(2);
  const sequence = cache.open();
  cache.append(sequence, 10);
  const numbers = (head: number, from: number) =>
    Float32Array.from({ length: 20 }, (_, i) => 100 * head + from + Math.floor(i / 2));
  for (const head of [0, 1])
    writeEntries(cache, sequence, 0, head, numbers(head, 0), numbers(head, 50));
  await compactTo(cache, sequence, [all(10, 1, 4), all(10, 0, 1, 2, 4, 5, 9)]);
  const { lengths, blocks, residentBytes } = cache.sequenceStats(sequence);
  expect([...lengths, blocks, residentBytes]).toEqual([8, 4, 3, 3 * 64]);
  expect(cache.stats().arenas[0]!.freeBlocks).toBe(13);
  expect([...readRow(cache, sequence, 0, 0).positions]).toEqual([0, 9, 2, 3, 8, 5, 6, 7]);
  const row = readRow(cache, sequence, 0, 1);
  expect([...row.positions]).toEqual([8, 7, 6, 3]);
  expect([...row.keys]).toEqual([108, 108, 107, 107, 106, 106, 103, 103]);
  expect([...row.values]).toEqual([158, 158, 157, 157, 156, 156, 153, 153]);
});

test("new tokens keep their true positions and go to the end", async () => {
  const cache = cacheOf(1);
  const sequence = cache.open();
  cache.append(sequence, 6);
  await compactTo(cache, sequence, [[4, 5]]);
  cache.append(sequence, 3);
  expect([...readRow(cache, sequence, 0, 0).positions]).toEqual([5, 4, 6, 7, 8]);
});

test("a shared block is rewritten elsewhere, moves included", async () => {
  const cache = cacheOf(1);
  const first = cache.open();
  cache.append(first, 10);
  const second = cache.fork(first);
  const before = [...cache.host.blockTables.subarray(0, 3)];
  await compactTo(cache, second, [[0, 1, 2, 3, 5, 8, 9]]);
  expect([...readRow(cache, first, 0, 0).positions]).toEqual(all(10));
  expect([...cache.host.blockTables.subarray(0, 3)]).toEqual(before);
  expect([...readRow(cache, second, 0, 0).positions]).toEqual([0, 1, 2, 3, 9, 5, 8]);
  // Block 0 of the row had no hole and is still shared; block 1 was copied, block 2 left.
  expect(cache.stats().arenas[0]!.freeBlocks).toBe(16 - 4);
});

test("without room for the copies nothing changes", async () => {
  const cache = cacheOf(1, { numBlocks: 3 });
  const first = cache.open();
  cache.append(first, 12);
  const second = cache.fork(first);
  await expect(compactTo(cache, second, [[1, 2]])).rejects.toMatchObject({ code: "out-of-blocks" });
  for (const sequence of [first, second])
    expect([...readRow(cache, sequence, 0, 0).positions]).toEqual(all(12));
  cache.close(first);
  await compactTo(cache, second, [[1, 2]]);
  expect(cache.stats().arenas[0]!.freeBlocks).toBe(2);
});

test("a failing kernel leaves tables and blocks as they were", async () => {
  const compaction = defineKernel<MoveParams>({
    name: "broken",
    reference() {
      throw new Error("no");
    },
  });
  const cache = cacheOf(1, { compaction });
  const first = cache.open();
  cache.append(first, 8);
  const second = cache.fork(first);
  const free = cache.stats().arenas[0]!.freeBlocks;
  await expect(compactTo(cache, second, [[1, 2, 7]])).rejects.toThrow("no");
  expect(cache.stats().arenas[0]!.freeBlocks).toBe(free);
  expect([...readRow(cache, second, 0, 0).positions]).toEqual(all(8));
});

test("keep sets and batches that do not fit are refused", async () => {
  const cache = cacheOf(1);
  const sequence = cache.open();
  cache.append(sequence, 4);
  for (const row of [[4], [1, 0], [2, 2]])
    await expect(compactTo(cache, sequence, [row])).rejects.toMatchObject({
      code: "invalid-argument",
    });
  const batch = cache.batch([sequence], { protect, phase: "decode" });
  cache.append(sequence, 1);
  for (const wrong of [batch, cache.batch([sequence, sequence], { protect, phase: "decode" })])
    await expect(
      cache.compact(hostEncoder, wrong, keepSet(wrong.sequences.map(() => [0]))),
    ).rejects.toMatchObject({ code: "invalid-argument" });
  expect([...readRow(cache, sequence, 0, 0).positions]).toEqual([0, 1, 2, 3, 4]);
});

test("layers that read another layer's blocks have no rows to compact", async () => {
  const shape = { numLayers: 2, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };
  const layout = { ...cacheLayout(shape, { blockSize: 4 }), layerMap: [0, 0] };
  const cache = createPagedCache({ layout, numBlocks: 4, maxTokensPerSequence: 16 });
  const sequence = cache.open();
  cache.append(sequence, 5);
  expect([...cache.sequenceStats(sequence).lengths]).toEqual([5, 0]);
  const batch = cache.batch([sequence], { protect, phase: "decode" });
  expect([batch.layers, batch.numRows]).toEqual([[0], 1]);
  const both = cache.batch([sequence], { protect, phase: "decode", layers: [0, 1] });
  expect([...hostArray(both.rowIndptr, "u32")]).toEqual([0, 5, 10]);
  await expect(cache.compact(hostEncoder, both, keepSet([[0], [0]]))).rejects.toMatchObject({
    code: "invalid-argument",
  });
  expect(codeOf(() => cache.batch([sequence], { protect, phase: "decode", layers: [1, 0] }))).toBe(
    "invalid-argument",
  );
});

test("on request no block stays shared, those that are kept whole included", async () => {
  const cache = cacheOf(1);
  const first = cache.open();
  cache.append(first, 10);
  const numbers = Float32Array.from({ length: 20 }, (_, i) => i);
  writeEntries(cache, first, 0, 0, numbers, numbers);
  cache.prefixes.publish(first, { namespace: "", tokenIds: new Int32Array(10) }, 8);
  for (const kept of [all(10, 4), all(10)]) {
    const second = cache.fork(first);
    const batch = cache.batch([second], { protect, phase: "prefill" });
    await cache.compact(hostEncoder, batch, keepSet([kept]), { unshare: true });
    const table = second * cache.host.maxBlocksPerRow;
    const own = [...cache.host.blockTables.subarray(table, table + 3)];
    const shared = cache.host.blockTables.subarray(0, 3);
    expect(own.filter((block) => shared.includes(block))).toEqual([]);
    const { keys, positions } = readRow(cache, second, 0, 0);
    expect([...positions].sort((a, b) => a - b)).toEqual(kept);
    positions.forEach((position, i) => {
      expect(keys[2 * i]).toBe(2 * position);
    });
    expect([...readRow(cache, first, 0, 0).keys]).toEqual([...numbers]);
    cache.close(second);
  }
});

test("on request blocks that only the prefix index shares stay where there is no room", async () => {
  const cache = cacheOf(1, { numBlocks: 3 });
  const sequence = cache.open();
  cache.append(sequence, 12);
  const key = { namespace: "", tokenIds: new Int32Array(12) };
  cache.prefixes.publish(sequence, key, 12);
  const batch = cache.batch([sequence], { protect, phase: "prefill" });
  await cache.compact(hostEncoder, batch, keepSet([all(12)]), { unshare: true });
  expect([...readRow(cache, sequence, 0, 0).positions]).toEqual(all(12));
  expect(cache.prefixes.lookup(key, 12)).toBe(0);
});
