import { blocksFor, type SequenceSlot } from "@kvcache/core";
import type { CacheState } from "./cache-state.ts";
import { setPromise } from "./reservations.ts";

/**
 * Gives back the full blocks of sliding-window layers in which no position is visible to the next
 * query, and shifts the block tables over them. A query at p sees positions > p − window.
 */
export function releaseOutOfWindow(state: CacheState, sequence: SequenceSlot): void {
  const { host, rows, numRows } = state;
  const { slidingWindow, shape } = host.layout;
  for (const row of rows) {
    const window = slidingWindow[Math.floor(row / shape.numKvHeads)];
    if (window === undefined) continue;
    const oldest = host.nextPositions[sequence]! - window + 1;
    releaseRow(state, sequence * numRows + row, state.arenaOfRow[row]!, oldest);
  }
  setPromise(state, sequence, state.promisedTokens[sequence]!);
}

function releaseRow(state: CacheState, row: number, arena: number, oldest: number): void {
  const { host, blockSize, pools } = state;
  const { positions } = host.arenas[arena]!;
  const table = row * host.maxBlocksPerRow;
  const length = host.lengths[row]!;
  const held = blocksFor(length, blockSize);
  const full = Math.floor(length / blockSize);
  let kept = 0;
  for (let index = 0; index < held; index++) {
    const block = host.blockTables[table + index]!;
    if (index < full && isBefore(positions, block * blockSize, blockSize, oldest))
      pools[arena]!.release(block);
    else host.blockTables[table + kept++] = block;
  }
  host.blockTables.fill(-1, table + kept, table + held);
  host.lengths[row] = length - (held - kept) * blockSize;
}

function isBefore(positions: Int32Array, start: number, count: number, oldest: number): boolean {
  for (let i = start; i < start + count; i++) if (positions[i]! >= oldest) return false;
  return true;
}
