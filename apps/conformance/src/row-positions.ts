import type { CacheManager, SequenceSlot } from "@kvcache/core";
import { gatherPositions, rowView } from "@kvcache/kernels";

/** Positions that each row of a sequence holds, in slot order; row = layer × numKvHeads + head. */
export async function rowPositions(cache: CacheManager, slot: SequenceSlot): Promise<Int32Array[]> {
  const host = await cache.snapshot([slot]);
  const { numLayers, numKvHeads } = cache.layout.shape;
  return Array.from({ length: numLayers * numKvHeads }, (_, row) =>
    gatherPositions(rowView(host, slot, Math.floor(row / numKvHeads), row % numKvHeads)),
  );
}

/**
 * The slots of each row whose positions are in a CSR of positions. A sliding-window layer may have
 * given some of them back already: no later query sees those.
 */
export function slotsOfPositions(
  rows: readonly Int32Array[],
  indptr: ArrayLike<number>,
  positions: Int32Array,
): { indptr: Uint32Array; indices: Uint32Array } {
  const kept = rows.map((held, row) => {
    const wanted = new Set(positions.subarray(indptr[row]!, indptr[row + 1]!));
    return Array.from(held.keys()).filter((slot) => wanted.has(held[slot]!));
  });
  const starts = new Uint32Array(rows.length + 1);
  kept.forEach((slots, row) => {
    starts[row + 1] = starts[row]! + slots.length;
  });
  return { indptr: starts, indices: Uint32Array.from(kept.flat()) };
}
