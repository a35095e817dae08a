import type { HostCache, SequenceSlot } from "@kvcache/core";
import { moveSlots } from "./move-slots.ts";

/** The window queries of a sequence at one moment, kept apart from the ring. */
export interface SavedQueries {
  readonly byteLength: number;
  /** Makes them the queries of a sequence. */
  restore(sequence: SequenceSlot): void;
  release(): void;
}

/**
 * Where the contents of a cache live: keys, values, sums, window queries. Tables, lengths and
 * positions always stand in the host cache beside it; a memory elsewhere keeps its copies of
 * positions in step with the calls below, which happen in order.
 */
export interface CacheMemory {
  /** Copies a whole block with its positions and sums, on the host too. */
  copyBlock(arena: number, from: number, to: number): void;
  /**
   * Moves entries with positions and sums, on the host too: moves [M, 2] of physical slots. No
   * destination is a source or named twice.
   */
  move(arena: number, moves: Int32Array): void;
  copyQueries(from: SequenceSlot, to: SequenceSlot): void;
  saveQueries(sequence: SequenceSlot): SavedQueries;
}

/** The memory of the host cache itself. */
export function hostMemory(host: HostCache): CacheMemory {
  const width = host.windowQueries.length / host.maxSequences;
  const queriesOf = (sequence: SequenceSlot) =>
    host.windowQueries.subarray(sequence * width, (sequence + 1) * width);
  return {
    copyBlock(arena, from, to) {
      const { layout, storage, numBlocks, ...rest } = host.arenas[arena]!;
      const bytes = storage.byteLength / numBlocks;
      storage.copyWithin(to * bytes, from * bytes, (from + 1) * bytes);
      const { blockSize } = layout;
      for (const table of [rest.positions, rest.sumAttention, rest.sumSquaredAttention])
        table.copyWithin(to * blockSize, from * blockSize, (from + 1) * blockSize);
    },
    move: (arena, moves) => moveSlots(host.arenas[arena]!, moves),
    copyQueries: (from, to) => queriesOf(to).set(queriesOf(from)),
    saveQueries(sequence) {
      const saved = queriesOf(sequence).slice();
      return {
        byteLength: saved.byteLength,
        restore: (target) => queriesOf(target).set(saved),
        release() {},
      };
    },
  };
}
