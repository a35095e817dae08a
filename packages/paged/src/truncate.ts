import { blocksFor, KvCacheError, type SequenceSlot } from "@kvcache/core";
import type { CacheState } from "./cache-state.ts";
import { commitPlan, planCompaction } from "./compaction-plan.ts";

/**
 * Removes every entry with a position ≥ `position` and continues there. Slots may stand in any
 * order, so what stays moves together as in a compaction. Window queries of removed positions go, unless `windowLength` says how many
 * the ring holds.
 */
export function truncate(
  state: CacheState,
  sequence: SequenceSlot,
  position: number,
  windowLength?: number,
): void {
  const { host, windowLengths } = state;
  const next = host.nextPositions[sequence]!;
  if (!Number.isInteger(position) || position < 0 || position > next)
    throw new KvCacheError(
      "invalid-argument",
      `Sequence ${sequence} cannot be cut at ${position}: its next position is ${next}.`,
      { value: position, remedy: `Use a position in 0 … ${next}.` },
    );
  const plan = planCompaction(state, [sequence], entriesBefore(state, sequence, position));
  plan.moves.forEach((moves, arena) => {
    state.memory.move(arena, moves.view());
  });
  commitPlan(state, plan);
  host.nextPositions[sequence] = position;
  if (position === 0) state.isCompressed[sequence] = 0;
  const left = windowLengths[sequence]! - (next - position);
  windowLengths[sequence] = Math.max(0, Math.min(windowLength ?? left, host.windowSize));
}

function entriesBefore(state: CacheState, sequence: SequenceSlot, position: number) {
  const { host, blockSize, numRows } = state;
  const rows = state.rows.map((row) => sequence * numRows + row);
  const indptr = new Uint32Array(rows.length + 1);
  const indices = new Uint32Array(rows.reduce((sum, row) => sum + host.lengths[row]!, 0));
  let count = 0;
  rows.forEach((row, i) => {
    const { positions } = host.arenas[state.arenaOfRow[row % numRows]!]!;
    const length = host.lengths[row]!;
    for (let index = 0; index < blocksFor(length, blockSize); index++) {
      const base = host.blockTables[row * host.maxBlocksPerRow + index]! * blockSize;
      const start = index * blockSize;
      for (let slot = start; slot < Math.min(length, start + blockSize); slot++)
        if (positions[base + slot - start]! < position) indices[count++] = slot;
    }
    indptr[i + 1] = count;
  });
  return { rows, indptr, indices };
}
