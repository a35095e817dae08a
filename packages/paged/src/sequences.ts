import { blocksFor, KvCacheError, type SequenceSlot } from "@kvcache/core";
import { blockToWrite, type CacheState, checkAlive } from "./cache-state.ts";
import {
  blocksForPromise,
  promisedBlocks,
  recountPromises,
  requireBlocks,
  setPromise,
  spareBlocks,
} from "./reservations.ts";

/** Visits every block of a sequence: its place in the block tables, its arena. */
export function forEachBlock(
  state: CacheState,
  sequence: SequenceSlot,
  visit: (index: number, arena: number) => void,
): void {
  const { host, rows, numRows, arenaOfRow, blockSize } = state;
  for (const row of rows) {
    const table = (sequence * numRows + row) * host.maxBlocksPerRow;
    const held = blocksFor(host.lengths[sequence * numRows + row]!, blockSize);
    for (let i = 0; i < held; i++) visit(table + i, arenaOfRow[row]!);
  }
}

export function openSequence(state: CacheState): SequenceSlot {
  checkAlive(state);
  const { host, isOpen } = state;
  const sequence = isOpen.indexOf(0);
  if (sequence < 0)
    throw new KvCacheError("out-of-blocks", `All ${host.maxSequences} sequences are open.`, {
      value: host.maxSequences,
      remedy: "Close one, or create the cache with a larger maxSequences.",
    });
  isOpen[sequence] = 1;
  state.isCompressed[sequence] = 0;
  state.windowLengths[sequence] = 0;
  host.nextPositions[sequence] = 0;
  return sequence;
}

export function closeSequence(state: CacheState, sequence: SequenceSlot): void {
  const { host, numRows, pools } = state;
  setPromise(state, sequence, 0);
  forEachBlock(state, sequence, (index, arena) => {
    pools[arena]!.release(host.blockTables[index]!);
    host.blockTables[index] = -1;
  });
  host.lengths.fill(0, sequence * numRows, (sequence + 1) * numRows);
  state.isOpen[sequence] = 0;
  recountPromises(state);
}

/**
 * Opens a sequence with the same entries, positions and window queries. Throws `out-of-blocks` when
 * the tails that are now shared could not be copied and still keep a promise to the original.
 */
export function forkSequence(state: CacheState, sequence: SequenceSlot): SequenceSlot {
  const { host, numRows, pools, promisedTokens } = state;
  requireBlocks(
    blocksForPromise(state, sequence, "all"),
    (arena) => spareBlocks(state, arena) + promisedBlocks(state, sequence, arena),
    `Forking sequence ${sequence}, to which blocks are promised,`,
  );
  const copy = openSequence(state);
  const copyOf = (table: Int32Array, width: number) =>
    table.copyWithin(copy * width, sequence * width, (sequence + 1) * width);
  copyOf(host.lengths, numRows);
  copyOf(host.blockTables, numRows * host.maxBlocksPerRow);
  copyOf(host.nextPositions, 1);
  state.memory.copyQueries(sequence, copy);
  state.windowLengths[copy] = state.windowLengths[sequence]!;
  state.isCompressed[copy] = state.isCompressed[sequence]!;
  forEachBlock(state, copy, (index, arena) => {
    pools[arena]!.retain(host.blockTables[index]!);
  });
  setPromise(state, sequence, promisedTokens[sequence]!);
  return copy;
}

/** Copies every block of the sequence that others hold too. */
export function unshareSequence(state: CacheState, sequence: SequenceSlot): void {
  const { host, pools, promisedTokens } = state;
  const copies = new Int32Array(pools.length);
  forEachBlock(state, sequence, (index, arena) => {
    if (pools[arena]!.users(host.blockTables[index]!) > 1) copies[arena]!++;
  });
  const promised = blocksForPromise(state, sequence, "none");
  const available = (arena: number) =>
    spareBlocks(state, arena) + promisedBlocks(state, sequence, arena) - promised[arena]!;
  requireBlocks(copies, available, `Copying the shared blocks of sequence ${sequence}`);
  const spare = Int32Array.from(pools, (_, arena) => available(arena) - copies[arena]!);
  forEachBlock(state, sequence, (index, arena) => {
    const block = host.blockTables[index]!;
    const own = blockToWrite(state, arena, block, spare);
    if (own === block) return;
    state.memory.copyBlock(arena, block, own);
    pools[arena]!.release(block);
    host.blockTables[index] = own;
  });
  setPromise(state, sequence, promisedTokens[sequence]!);
}
