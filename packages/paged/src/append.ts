import { blocksFor, type SequenceSlot } from "@kvcache/core";
import { blockToWrite, type CacheState, takeBlock } from "./cache-state.ts";
import {
  blocksNeeded,
  checkLength,
  drawPromise,
  promisedBlocks,
  requireBlocks,
  spareBlocks,
} from "./reservations.ts";

/**
 * Adds `tokens` slots to every row with the positions nextPosition … and attention sums of 0.
 * Throws before the first change when blocks are missing.
 */
export function append(state: CacheState, sequence: SequenceSlot, tokens: number): void {
  checkLength(state, sequence, tokens);
  if (tokens === 0) return;
  const { host, pools, rows, numRows, arenaOfRow, windowLengths } = state;
  const needed = blocksNeeded(state, sequence, tokens);
  const available = (arena: number) =>
    spareBlocks(state, arena) + promisedBlocks(state, sequence, arena);
  requireBlocks(needed, available, `Appending ${tokens} tokens`);
  const spare = Int32Array.from(pools, (_, arena) => available(arena) - needed[arena]!);

  const position = host.nextPositions[sequence]!;
  for (let i = 0; i < rows.length; i++)
    appendRow(state, sequence * numRows + rows[i]!, arenaOfRow[rows[i]!]!, tokens, position, spare);
  host.nextPositions[sequence] = position + tokens;
  windowLengths[sequence] = Math.min(host.windowSize, windowLengths[sequence]! + tokens);
  drawPromise(state, sequence, tokens);
}

function appendRow(
  state: CacheState,
  row: number,
  arena: number,
  tokens: number,
  position: number,
  spare: Int32Array,
): void {
  const { host, blockSize, pools } = state;
  const { blockTables, lengths } = host;
  const { positions, sumAttention, sumSquaredAttention } = host.arenas[arena]!;
  const table = row * host.maxBlocksPerRow;
  const length = lengths[row]!;
  const end = length + tokens;
  const held = blocksFor(length, blockSize);

  if (length % blockSize !== 0) {
    const last = blockTables[table + held - 1]!;
    const own = blockToWrite(state, arena, last, spare);
    if (own !== last) {
      state.memory.copyBlock(arena, last, own);
      pools[arena]!.release(last);
      blockTables[table + held - 1] = own;
    }
  }
  for (let i = held; i < blocksFor(end, blockSize); i++)
    blockTables[table + i] = takeBlock(state, arena);

  for (let slot = length; slot < end; ) {
    const index = Math.floor(slot / blockSize);
    const stop = Math.min(end, (index + 1) * blockSize);
    const base = blockTables[table + index]! * blockSize - index * blockSize;
    for (; slot < stop; slot++) {
      positions[base + slot] = position + slot - length;
      sumAttention[base + slot] = 0;
      sumSquaredAttention[base + slot] = 0;
    }
  }
  lengths[row] = end;
}
