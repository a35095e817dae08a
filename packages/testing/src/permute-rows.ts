import { assert, blockBytes, entryBytes } from "@kvcache/core";
import { rowView, slotOf } from "@kvcache/kernels";
import type { TokenCache } from "./token-cache.ts";

/**
 * Puts the entries of a row into another order, with positions and sums: slot j receives what slot
 * order[j] held.
 */
export function permuteRow(
  { cache }: TokenCache,
  sequence: number,
  row: number,
  order: ArrayLike<number>,
): void {
  const { numKvHeads } = cache.layout.shape;
  const view = rowView(cache.host, sequence, Math.floor(row / numKvHeads), row % numKvHeads);
  assert(order.length === view.length, "An order names every slot of the row.");
  const { storage, layout, positions, sumAttention, sumSquaredAttention } = view.arena;
  const { blockSize, key, value } = layout;
  const sides = [
    { bytes: entryBytes(key), start: 0 },
    { bytes: entryBytes(value), start: blockSize * entryBytes(key) },
  ];
  const slots = Array.from({ length: view.length }, (_, j) => slotOf(view, j));
  for (const { bytes, start } of sides) {
    const byteOf = (slot: number) =>
      Math.floor(slot / blockSize) * blockBytes(layout) + start + (slot % blockSize) * bytes;
    const before = slots.map((slot) => storage.slice(byteOf(slot), byteOf(slot) + bytes));
    slots.forEach((slot, j) => {
      storage.set(before[order[j]!]!, byteOf(slot));
    });
  }
  for (const table of [positions, sumAttention, sumSquaredAttention]) {
    const before = slots.map((slot) => table[slot]!);
    slots.forEach((slot, j) => {
      table[slot] = before[order[j]!]!;
    });
  }
}
