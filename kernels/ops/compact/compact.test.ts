import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { testCache } from "../../src/test-cache.ts";
import { compact } from "./compact.ts";

const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 3 };

it("moves keys, values, positions and sums, and touches nothing else", () => {
  const { cache } = testCache(shape, { blockSize: 4, numBlocks: 6, dtype: "f16" });
  const arena = cache.arenas[0]!;
  arena.storage.forEach((_, i) => {
    arena.storage[i] = (i * 37) % 251;
  });
  const tables = [arena.positions, arena.sumAttention, arena.sumSquaredAttention];
  tables.forEach((table, t) => {
    table.forEach((_, slot) => {
      table[slot] = 1000 * t + slot;
    });
  });
  const before = { storage: arena.storage.slice(), tables: tables.map((table) => table.slice()) };
  const moves = [
    [23, 1],
    [22, 4],
    [13, 7],
  ] as const;
  const moved = hostTensor(new Int32Array(1));
  compact.reference({
    cache,
    arena,
    arenaIndex: 0,
    moves: hostTensor(Int32Array.from(moves.flat())),
    moved,
  });
  expect(moved.data[0]).toBe(3);

  // A block is 4 keys of 6 bytes, then 4 values of 6 bytes.
  const source = Array.from({ length: 24 }, (_, slot) => slot);
  for (const [from, to] of moves) source[to] = from;
  for (let slot = 0; slot < 24; slot++) {
    const from = source[slot]!;
    for (const side of [0, 24]) {
      const at = (s: number) => (s >> 2) * 48 + side + (s & 3) * 6;
      expect(arena.storage.slice(at(slot), at(slot) + 6)).toEqual(
        before.storage.slice(at(from), at(from) + 6),
      );
    }
    tables.forEach((table, t) => {
      expect(table[slot]).toBe(before.tables[t]![from]);
    });
  }
});

it("refuses a move out of the arena", () => {
  const { cache } = testCache(shape, { blockSize: 4, numBlocks: 2 });
  const params = { cache, arena: cache.arenas[0]!, arenaIndex: 0 };
  for (const move of [
    [8, 0],
    [0, -1],
  ])
    expect(() =>
      compact.reference({ ...params, moves: hostTensor(Int32Array.from(move)) }),
    ).toThrowError(/leaves the arena of 8 slots/);
});
