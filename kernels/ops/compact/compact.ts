import {
  blockBytes,
  defineKernel,
  entryBytes,
  type HostArena,
  type HostCache,
  hostArray,
  hostTensor,
  KvCacheError,
  type Tensor,
} from "@kvcache/core";

export interface CompactParams {
  readonly cache: HostCache;
  /** The arena that is rewritten: cache.arenas[arenaIndex]. */
  readonly arena: HostArena;
  readonly arenaIndex: number;
  /** i32 [M, 2]: physical slots (block × blockSize + offset), source then destination. */
  readonly moves: Tensor;
  /** i32 [1]: receives M, where the caller wants it. */
  readonly moved?: Tensor;
}

/**
 * Moves tokens to other physical slots of their arena: key, value, position and attention sums, as
 * stored, whatever their dtype. No slot is both a source and a destination, and no destination is
 * written twice, so the moves may run in any order.
 */
export const compact = defineKernel<CompactParams>({
  name: "compact",
  reference({ arena, moves, moved }) {
    const pairs = hostArray(moves, "i32");
    const { blockSize, key, value } = arena.layout;
    const stride = blockBytes(arena.layout);
    const numSlots = arena.numBlocks * blockSize;
    const sides = [
      { bytes: entryBytes(key), start: 0 },
      { bytes: entryBytes(value), start: blockSize * entryBytes(key) },
    ];
    const byteOf = (slot: number, side: (typeof sides)[number]) =>
      Math.floor(slot / blockSize) * stride + side.start + (slot % blockSize) * side.bytes;
    for (let i = 0; i < pairs.length; i += 2) {
      const from = pairs[i]!;
      const to = pairs[i + 1]!;
      if (!(from >= 0 && from < numSlots && to >= 0 && to < numSlots))
        throw new KvCacheError(
          "invalid-argument",
          `A move from slot ${from} to ${to} leaves the arena of ${numSlots} slots.`,
          { value: [from, to] },
        );
      for (const side of sides) {
        const source = byteOf(from, side);
        arena.storage.copyWithin(byteOf(to, side), source, source + side.bytes);
      }
      for (const table of [arena.positions, arena.sumAttention, arena.sumSquaredAttention])
        table[to] = table[from]!;
    }
    if (moved) hostArray(moved, "i32")[0] = pairs.length / 2;
  },
  native: ({ cache, arenaIndex, moves, moved = hostTensor(new Int32Array(1)) }) => ({
    cache,
    inputs: [moves],
    outputs: [moved],
    integers: [moved.length, arenaIndex],
    floats: [],
  }),
});
