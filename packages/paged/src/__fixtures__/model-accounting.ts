import type { HostCache } from "@kvcache/core";
import { arenaOf, blockSize, numRows, ownedRows, type Sequence } from "./model-sequence.ts";

/** Blocks that appending takes, per arena, counted from the block tables of all sequences. */
export function neededBlocks(
  host: HostCache,
  open: readonly Sequence[],
  sequence: Sequence,
  tokens: number,
): number[] {
  const needed = [0, 0];
  if (tokens === 0) return needed;
  const users = usersOf(host, open);
  for (const row of ownedRows) {
    const at = sequence.slot * numRows + row;
    const length = host.lengths[at]!;
    const held = Math.ceil(length / blockSize);
    needed[arenaOf(row)]! += Math.ceil((length + tokens) / blockSize) - held;
    const last = host.blockTables[at * host.maxBlocksPerRow + held - 1]!;
    if (length % blockSize && users[arenaOf(row)]!.get(last)! > 1) needed[arenaOf(row)]!++;
  }
  return needed;
}

/** Block → sequences that name it, per arena, from the block tables. */
export function usersOf(host: HostCache, open: readonly Sequence[]): Map<number, number>[] {
  const users = [new Map<number, number>(), new Map<number, number>()];
  for (const { slot } of open)
    for (const row of ownedRows) {
      const at = slot * numRows + row;
      for (let i = 0; i < Math.ceil(host.lengths[at]! / blockSize); i++) {
        const block = host.blockTables[at * host.maxBlocksPerRow + i]!;
        const map = users[arenaOf(row)]!;
        map.set(block, (map.get(block) ?? 0) + 1);
      }
    }
  return users;
}

/** Least blocks that promises to all other sequences need. */
export function promisedBlocks(
  host: HostCache,
  open: readonly Sequence[],
  except?: Sequence,
): number[] {
  const total = [0, 0];
  for (const sequence of open)
    if (sequence !== except)
      neededBlocks(host, open, sequence, sequence.promised).forEach((need, i) => {
        total[i]! += need;
      });
  return total;
}
