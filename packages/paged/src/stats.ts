import {
  blockBytes,
  blockUse,
  type CacheStats,
  type SequenceSlot,
  type SequenceStats,
  sum,
} from "@kvcache/core";
import type { CacheState } from "./cache-state.ts";
import { forEachBlock } from "./sequences.ts";

export function cacheStats(state: CacheState): CacheStats {
  const arenas = state.pools.map((pool, arena) => ({
    blockBytes: blockBytes(state.host.arenas[arena]!.layout),
    totalBlocks: pool.numBlocks,
    freeBlocks: pool.numFree,
    reclaimableBlocks: pool.numReclaimable,
    reservedBlocks: state.reserved[arena]!,
  }));
  return {
    arenas,
    residentBytes: sum(arenas.map((a) => (a.totalBlocks - a.freeBlocks) * a.blockBytes)),
    residentTokens: sum(state.host.lengths) / state.rows.length,
    capacityBytes: sum(arenas.map((a) => a.totalBlocks * a.blockBytes)),
    prefixBytes: state.prefixes.bytes,
    pinnedBytes: state.prefixes.pinnedBytes,
    sequences: sum(state.isOpen),
  };
}

export function sequenceStats(state: CacheState, sequence: SequenceSlot): SequenceStats {
  const { host, numRows } = state;
  let blocks = 0;
  let residentBytes = 0;
  forEachBlock(state, sequence, (_, arena) => {
    blocks++;
    residentBytes += blockBytes(host.arenas[arena]!.layout);
  });
  return {
    lengths: Uint32Array.from(host.lengths.subarray(sequence * numRows, (sequence + 1) * numRows)),
    blocks,
    residentBytes,
    nextPosition: host.nextPositions[sequence]!,
  };
}

/** For each block of an arena, who holds it. */
export function blockUses({ pools }: CacheState, arena: number): Uint8Array {
  const pool = pools[arena]!;
  return Uint8Array.from({ length: pool.numBlocks }, (_, block) => {
    if (pool.isExclusive(block)) return blockUse.own;
    if (pool.isFree(block)) return blockUse.free;
    return pool.users(block) > 0 ? blockUse.shared : blockUse.prefix;
  });
}
