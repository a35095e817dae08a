import {
  type BlockWatcher,
  type HostCache,
  KvCacheError,
  numRows,
  type PrefixWatcher,
  type SequenceSlot,
} from "@kvcache/core";
import { type BlockPool, createBlockPool } from "./block-pool.ts";
import { type CacheMemory, hostMemory } from "./cache-memory.ts";
import { allocateHost, type HostMemoryOptions } from "./host-memory.ts";
import { createPrefixStore, type PrefixStore } from "./prefix-store.ts";

/** Everything a paged cache remembers: the memory that kernels see, and who holds what of it. */
export interface CacheState {
  readonly host: HostCache;
  /** Where contents live: `host` itself, or a device beside it. */
  readonly memory: CacheMemory;
  readonly blockSize: number;
  /** Rows of a sequence, those without blocks of their own included. */
  readonly numRows: number;
  /** Rows of a sequence that have blocks, ascending. */
  readonly rows: Int32Array;
  /** [numRows]. */
  readonly arenaOfRow: Uint8Array;
  /** [numRows]: positions that a query sees, 0 for all. */
  readonly windowOfRow: Int32Array;
  /** One per arena. */
  readonly pools: readonly BlockPool[];
  readonly prefixes: PrefixStore;
  /** [maxSequences]: 1 while the sequence is open. */
  readonly isOpen: Uint8Array;
  /** [maxSequences]: 1 once a compaction evicted entries. */
  readonly isCompressed: Uint8Array;
  /** [maxSequences]: valid entries of the window-query ring. */
  readonly windowLengths: Int32Array;
  /** [maxSequences]: tokens that `reserve` promised and `append` has not taken. */
  readonly promisedTokens: Int32Array;
  /** [maxSequences]: most of them that arrive before rows leave the window again. */
  readonly promisedChunks: Float64Array;
  /** [maxSequences × numArenas]: the blocks those tokens need. */
  readonly promisedBlocks: Int32Array;
  /** [numArenas]: sum of promisedBlocks over sequences. */
  readonly reserved: Int32Array;
  isDisposed: boolean;
}

export interface CacheStateOptions extends HostMemoryOptions {
  /** Most bytes that the prefix index may hold; the size of all blocks when absent. */
  readonly prefixBytes?: number;
  /** Most bytes of it that pins may hold; half of it when absent. */
  readonly pinnedBytes?: number;
  readonly watchPrefixes?: PrefixWatcher;
  /** One watcher for the blocks of each arena. */
  readonly watchBlocks?: (arena: number) => BlockWatcher;
  /** Contents live here instead of in the host cache, which then keeps tables and positions only. */
  readonly memory?: (host: HostCache) => CacheMemory;
}

export function createCacheState(options: CacheStateOptions): CacheState {
  const host = allocateHost(options);
  const { layout, maxSequences, arenas } = host;
  const { numKvHeads } = layout.shape;
  const total = numRows(layout.shape);
  const layerOf = (row: number) => Math.floor(row / numKvHeads);
  const all = Int32Array.from({ length: total }, (_, row) => row);
  const pools = arenas.map(({ numBlocks }, arena) =>
    createBlockPool(numBlocks, options.watchBlocks?.(arena)),
  );
  const capacity = arenas.reduce((sum, arena) => sum + arena.storage.byteLength, 0);
  const { prefixBytes: maxBytes = capacity, pinnedBytes = maxBytes / 2, watchPrefixes } = options;
  return {
    host,
    memory: (options.memory ?? hostMemory)(host),
    blockSize: layout.arenas[0]!.blockSize,
    numRows: total,
    rows: all.filter((row) => layout.layerMap[layerOf(row)] === layerOf(row)),
    arenaOfRow: Uint8Array.from(all, (row) => layout.arenaOfLayer[layerOf(row)]!),
    pools,
    prefixes: createPrefixStore(pools, {
      maxBytes,
      maxPinnedBytes: pinnedBytes,
      watcher: watchPrefixes,
    }),
    isOpen: new Uint8Array(maxSequences),
    isCompressed: new Uint8Array(maxSequences),
    windowLengths: new Int32Array(maxSequences),
    promisedTokens: new Int32Array(maxSequences),
    promisedChunks: new Float64Array(maxSequences).fill(Number.POSITIVE_INFINITY),
    windowOfRow: all.map((row) => layout.slidingWindow[layerOf(row)] ?? 0),
    promisedBlocks: new Int32Array(maxSequences * arenas.length),
    reserved: new Int32Array(arenas.length),
    isDisposed: false,
  };
}

/** Throws `disposed` after `dispose()`. */
export function checkAlive(state: CacheState): void {
  if (state.isDisposed) throw new KvCacheError("disposed", "This cache was disposed.");
}

/** Throws `invalid-argument` unless the sequence is open. */
export function checkSequence(state: CacheState, sequence: SequenceSlot): void {
  checkAlive(state);
  if (state.isOpen[sequence] !== 1)
    throw new KvCacheError("invalid-argument", `Sequence ${sequence} is not open.`, {
      value: sequence,
      remedy: "Use a slot that open(), fork() or importSequence() gave and close() did not end.",
    });
}

/** Throws `invalid-argument` unless `value` is a non-negative integer. */
export function checkCount(value: number, name: string): void {
  if (!Number.isSafeInteger(value) || value < 0)
    throw new KvCacheError(
      "invalid-argument",
      `${name} must be a non-negative integer, got ${value}.`,
      { value },
    );
}

/** Takes a block that the accounting says is there, from the prefix index if need be. */
export function takeBlock(state: CacheState, arena: number): number {
  const pool = state.pools[arena]!;
  while (pool.numFree === 0) state.prefixes.reclaim(arena);
  return pool.allocate();
}

/**
 * A block to write in place of `block`, which a sequence holds: a new one where another sequence
 * holds it too. Where only the prefix index does, a new one as long as `spare[arena]` lasts, and
 * then the same one after the index gave way. The caller copies contents and releases the old one.
 */
export function blockToWrite(
  state: CacheState,
  arena: number,
  block: number,
  spare: Int32Array,
): number {
  const pool = state.pools[arena]!;
  if (pool.isExclusive(block)) return block;
  if (pool.users(block) > 1) return takeBlock(state, arena);
  if (spare[arena]! > 0) {
    spare[arena]!--;
    return takeBlock(state, arena);
  }
  while (!pool.isExclusive(block)) state.prefixes.evictOldest();
  return block;
}
