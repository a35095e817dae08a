import { blocksFor, blockUse, type CacheManager, type SequenceSlot } from "@kvcache/core";
import { cellOwner } from "./frame.ts";

/** Cells of the grid at most; larger pools put several blocks into one. */
const MAX_CELLS = 4096;

export const blocksPerCell = (numBlocks: number): number => Math.ceil(numBlocks / MAX_CELLS);

export const totalBlocks = (cache: CacheManager): number =>
  cache.stats().arenas.reduce((sum, arena) => sum + arena.totalBlocks, 0);

/**
 * Who holds the blocks of all arenas, one byte a cell: of several blocks the holder of most.
 * `ownerOf` names the owner of a slot as a number ≥ `cellOwner.firstRequest`.
 */
export function blockCells(
  cache: CacheManager,
  slots: ReadonlyMap<SequenceSlot, number>,
): Uint8Array {
  const owners = cache.layout.arenas.map((_, arena) => arenaOwners(cache, arena, slots));
  const all = new Uint8Array(owners.reduce((sum, own) => sum + own.length, 0));
  let at = 0;
  for (const own of owners) {
    all.set(own, at);
    at += own.length;
  }
  const size = blocksPerCell(all.length);
  if (size <= 1) return all;
  const counts = new Uint32Array(256);
  return Uint8Array.from({ length: Math.ceil(all.length / size) }, (_, cell) => {
    counts.fill(0);
    for (const owner of all.subarray(cell * size, (cell + 1) * size)) counts[owner]!++;
    return counts.indexOf(Math.max(...counts));
  });
}

function arenaOwners(
  cache: CacheManager,
  arena: number,
  slots: ReadonlyMap<SequenceSlot, number>,
): Uint8Array {
  const uses = cache.blockUses?.(arena) ?? new Uint8Array(cache.stats().arenas[arena]!.totalBlocks);
  const owners = uses.map((use) => {
    if (use === blockUse.free) return cellOwner.free;
    return use === blockUse.prefix ? cellOwner.prefix : cellOwner.shared;
  });
  const { host } = cache;
  if (!host) return owners;
  const seen = new Uint8Array(owners.length);
  const { numLayers, numKvHeads } = host.layout.shape;
  for (const [slot, owner] of slots)
    for (let layer = 0; layer < numLayers; layer++) {
      if (host.arenaOfLayer[slot * numLayers + layer] !== arena) continue;
      for (let head = 0; head < numKvHeads; head++) {
        const row = (slot * numLayers + layer) * numKvHeads + head;
        const start = row * host.maxBlocksPerRow;
        const held = blocksFor(host.lengths[row]!, host.layout.arenas[arena]!.blockSize);
        for (const block of host.blockTables.subarray(start, start + held)) {
          if (seen[block] && owners[block] !== owner) owners[block] = cellOwner.shared;
          else owners[block] = owner;
          seen[block] = 1;
        }
      }
    }
  return owners;
}
