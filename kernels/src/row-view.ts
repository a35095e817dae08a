import {
  assert,
  blocksFor,
  type HostArena,
  type HostCache,
  type SequenceSlot,
} from "@kvcache/core";
import { entryStore } from "./entry-store.ts";

/**
 * A row of a host cache: the tokens of one KV head of one layer of one sequence. Slot j of the row
 * is physical slot `slotOf(row, j)` of its arena.
 */
export interface RowView {
  readonly arena: HostArena;
  /** Tokens in the row. */
  readonly length: number;
  /** The row's blocks, ⌈length / blockSize⌉ of them: a view over the cache's block table. */
  readonly blocks: Int32Array;
}

/** The row that layer `layer` reads: of its owner, where layers share blocks. */
export function rowView(
  cache: HostCache,
  sequence: SequenceSlot,
  layer: number,
  head: number,
): RowView {
  const { shape, layerMap } = cache.layout;
  const owner = layerMap[layer]!;
  const row = (sequence * shape.numLayers + owner) * shape.numKvHeads + head;
  const arena = cache.arenas[cache.arenaOfLayer[sequence * shape.numLayers + owner]!];
  assert(arena !== undefined, `Layer ${owner} of sequence ${sequence} has no arena.`);
  const length = cache.lengths[row]!;
  const start = row * cache.maxBlocksPerRow;
  const blocks = cache.blockTables.subarray(
    start,
    start + blocksFor(length, arena.layout.blockSize),
  );
  return { arena, length, blocks };
}

/** Physical slot of slot j of a row: index into the arena's positions and sums. */
export function slotOf(row: RowView, j: number): number {
  const { blockSize } = row.arena.layout;
  return row.blocks[Math.floor(j / blockSize)]! * blockSize + (j % blockSize);
}

/** Keys of a row in slot order, f32 [length, width]; `out` may be longer. */
export const gatherKeys = (row: RowView, out?: Float32Array): Float32Array =>
  gatherEntries(row, "key", out);

/** Values of a row in slot order, f32 [length, width]; `out` may be longer. */
export const gatherValues = (row: RowView, out?: Float32Array): Float32Array =>
  gatherEntries(row, "value", out);

/** Positions of a row in slot order, [length]; `out` may be longer. */
export const gatherPositions = (
  row: RowView,
  out: Int32Array = new Int32Array(row.length),
): Int32Array => gatherSlots(row, row.arena.positions, out, 0);

/** Values of a row's slots in a table with one per physical slot, written to out[begin …). */
export function gatherSlots<T extends Int32Array | Float32Array>(
  { arena, blocks, length }: RowView,
  table: T,
  out: T,
  begin: number,
): T {
  const { blockSize } = arena.layout;
  for (let i = 0, at = begin; i < blocks.length; i++) {
    const start = blocks[i]! * blockSize;
    const end = start + Math.min(blockSize, length - i * blockSize);
    for (let slot = start; slot < end; slot++) out[at++] = table[slot]!;
  }
  return out;
}

function gatherEntries(row: RowView, side: "key" | "value", into?: Float32Array): Float32Array {
  const store = entryStore(row.arena, side);
  const out = into ?? new Float32Array(row.length * store.width);
  const { blockSize } = row.arena.layout;
  for (let i = 0; i < row.blocks.length; i++) {
    const count = Math.min(blockSize, row.length - i * blockSize);
    store.readBlock(row.blocks[i]!, count, out, i * blockSize * store.width);
  }
  return out;
}
