import { blocksFor, KvCacheError, type SequenceSlot } from "@kvcache/core";
import { type CacheState, checkCount } from "./cache-state.ts";

/*
 * At any time free + reclaimable blocks ≥ reserved blocks, per arena. A block that a sequence shares
 * with the prefix index alone counts as its own: copying it takes a free block and leaves a
 * reclaimable one, and without a free block the index gives way.
 */

/** Free and reclaimable blocks that nobody was promised. */
export const spareBlocks = (state: CacheState, arena: number): number =>
  state.pools[arena]!.numFree + state.pools[arena]!.numReclaimable - state.reserved[arena]!;

/** Blocks promised to a sequence and not yet taken. */
export const promisedBlocks = (state: CacheState, sequence: SequenceSlot, arena: number): number =>
  state.promisedBlocks[sequence * state.pools.length + arena]!;

/**
 * Blocks that a row of `length` tokens takes beyond those it has, while `tokens` more arrive, at
 * most `chunk` of them before what left the row's window is given back.
 */
export function blocksToGrow(
  { blockSize, windowOfRow }: CacheState,
  row: number,
  length: number,
  tokens: number,
  chunk: number,
): number {
  const window = windowOfRow[row]!;
  let peak = length + tokens;
  if (window > 0 && chunk !== Number.POSITIVE_INFINITY) {
    // What stays for the next query: the window without it, and the rest of the oldest block.
    const left = window + blockSize - 2;
    peak = Math.min(Math.min(length, left) + tokens, left + chunk);
  }
  return Math.max(0, blocksFor(peak, blockSize) - blocksFor(length, blockSize));
}

/**
 * Blocks per arena that appending `tokens` tokens, `chunk` at a time, takes. `sharing` says which
 * partly filled last blocks must be copied first: those that other sequences hold now, all, or none.
 */
export function blocksNeeded(
  state: CacheState,
  sequence: SequenceSlot,
  tokens: number,
  sharing: "now" | "all" | "none" = "now",
  chunk = Number.POSITIVE_INFINITY,
): Int32Array {
  const { host, blockSize, rows, arenaOfRow, numRows, pools } = state;
  const needed = new Int32Array(pools.length);
  if (tokens === 0) return needed;
  for (let i = 0; i < rows.length; i++) {
    const row = sequence * numRows + rows[i]!;
    const arena = arenaOfRow[rows[i]!]!;
    const length = host.lengths[row]!;
    const held = blocksFor(length, blockSize);
    let count = blocksToGrow(state, rows[i]!, length, tokens, chunk);
    if (length % blockSize !== 0 && sharing !== "none") {
      const last = host.blockTables[row * host.maxBlocksPerRow + held - 1]!;
      if (sharing === "all" || pools[arena]!.users(last) > 1) count++;
    }
    needed[arena]! += count;
  }
  return needed;
}

/** Throws `out-of-blocks` unless every arena has what is needed. */
export function requireBlocks(
  needed: ArrayLike<number>,
  available: (arena: number) => number,
  what: string,
): void {
  for (let arena = 0; arena < needed.length; arena++)
    if (needed[arena]! > available(arena))
      throw new KvCacheError(
        "out-of-blocks",
        `${what} takes ${needed[arena]} blocks of arena ${arena}, which has ${available(arena)} to give.`,
        {
          value: needed[arena],
          remedy: "Compress or close a sequence, or create the cache with more memory.",
        },
      );
}

/** Throws `context-length-exceeded` when a row of the sequence would outgrow its block table. */
export function checkLength(
  state: CacheState,
  sequence: SequenceSlot,
  tokens: number,
  chunk = Number.POSITIVE_INFINITY,
): void {
  checkCount(tokens, "tokens");
  const { host, blockSize, rows, numRows } = state;
  const capacity = host.maxBlocksPerRow * blockSize;
  const exceeds = (row: number, length: number) =>
    length + tokens > capacity &&
    blocksFor(length, blockSize) + blocksToGrow(state, row, length, tokens, chunk) >
      host.maxBlocksPerRow;
  for (const row of rows)
    if (exceeds(row, host.lengths[sequence * numRows + row]!))
      throw new KvCacheError(
        "context-length-exceeded",
        `${tokens} more tokens make a row of sequence ${sequence} longer than ${capacity}.`,
        { value: tokens, remedy: "Create the cache with a larger maxTokensPerSequence." },
      );
}

/** Blocks per arena for what a sequence is promised. */
export const blocksForPromise = (
  state: CacheState,
  sequence: SequenceSlot,
  sharing: "now" | "all" | "none",
): Int32Array => {
  const { promisedTokens, promisedChunks } = state;
  const chunk = promisedChunks[sequence]!;
  return blocksNeeded(state, sequence, promisedTokens[sequence]!, sharing, chunk);
};

/** Records a promise of `tokens` more tokens; the caller knows that its blocks are there. */
export function setPromise(state: CacheState, sequence: SequenceSlot, tokens: number): void {
  if (tokens === 0 && state.promisedTokens[sequence] === 0) return;
  const needed = blocksNeeded(state, sequence, tokens, "now", state.promisedChunks[sequence]);
  state.promisedTokens[sequence] = tokens;
  needed.forEach((count, arena) => {
    const at = sequence * needed.length + arena;
    state.reserved[arena]! += count - state.promisedBlocks[at]!;
    state.promisedBlocks[at] = count;
  });
}

export function reserve(
  state: CacheState,
  sequence: SequenceSlot,
  tokens: number,
  chunk = Number.POSITIVE_INFINITY,
): void {
  checkLength(state, sequence, tokens, chunk);
  requireBlocks(
    blocksNeeded(state, sequence, tokens, "now", chunk),
    (arena) => spareBlocks(state, arena) + promisedBlocks(state, sequence, arena),
    `Reserving ${tokens} tokens`,
  );
  state.promisedChunks[sequence] = chunk;
  setPromise(state, sequence, tokens);
}

/** Tokens arrived: the promise shrinks by as many. */
export const drawPromise = (state: CacheState, sequence: SequenceSlot, tokens: number): void =>
  setPromise(state, sequence, Math.max(0, state.promisedTokens[sequence]! - tokens));

/**
 * Counts all promises anew, after blocks changed hands between sequences. Whether they can be kept:
 * a block that gets a second user must be copied before the first may write to it.
 */
export function recountPromises(state: CacheState): boolean {
  for (let sequence = 0; sequence < state.host.maxSequences; sequence++)
    setPromise(state, sequence, state.promisedTokens[sequence]!);
  return state.pools.every((_, arena) => spareBlocks(state, arena) >= 0);
}
