import {
  blockBytes,
  blocksFor,
  entryBytes,
  type HostArena,
  type HostCache,
  hostTensor,
  indptrOf,
  type KvBatch,
} from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { type RowView, slotOf } from "../../src/row-view.ts";

/**
 * The batch as if its cache held only `slots` of every row, in that order: a copy in memory of its
 * own (entries, positions, sums, window queries), so that any scorer can look at a part of a cache.
 * Observers and model stay the batch's. Its sequences are 0 … n − 1.
 */
export function partBatch(batch: KvBatch, slots: readonly ArrayLike<number>[]): KvBatch {
  const host = hostOf(batch);
  const { layout } = host;
  const { numLayers, numKvHeads } = layout.shape;
  const numSequences = batch.sequences.length;
  const rows: { view: RowView; at: number; arena: number }[] = [];
  forEachRow(batch, ({ view, sequence, sequenceIndex, layer, head }) => {
    const at = (sequenceIndex * numLayers + layer) * numKvHeads + head;
    rows.push({ view, at, arena: host.arenaOfLayer[sequence * numLayers + layer]! });
  });

  const longest = slots.reduce((most, own) => Math.max(most, own.length), 0);
  const smallest = Math.min(...host.arenas.map((arena) => arena.layout.blockSize));
  const maxBlocksPerRow = Math.max(1, blocksFor(longest, smallest));
  const numRows = numSequences * numLayers * numKvHeads;
  const blockTables = new Int32Array(numRows * maxBlocksPerRow).fill(-1);
  const lengths = new Int32Array(numRows);
  const used = host.arenas.map(() => 0);
  rows.forEach(({ at, arena }, row) => {
    lengths[at] = slots[row]!.length;
    const blocks = blocksFor(lengths[at]!, host.arenas[arena]!.layout.blockSize);
    for (let i = 0; i < blocks; i++) blockTables[at * maxBlocksPerRow + i] = used[arena]!++;
  });
  const arenas = host.arenas.map((arena, i) => emptyArena(arena, used[i]!));
  rows.forEach(({ view, at, arena }, row) => {
    const blocks = blockTables.subarray(at * maxBlocksPerRow, (at + 1) * maxBlocksPerRow);
    copySlots(view, slots[row]!, { arena: arenas[arena]!, length: lengths[at]!, blocks });
  });

  const part: HostCache = {
    layout,
    maxSequences: numSequences,
    maxBlocksPerRow,
    arenas,
    arenaOfLayer: perSequence(batch, host.arenaOfLayer, numLayers, Uint8Array),
    blockTables,
    lengths,
    nextPositions: Int32Array.from(batch.nextPositions),
    windowSize: host.windowSize,
    windowQueries: perSequence(
      batch,
      host.windowQueries,
      host.windowQueries.length / host.maxSequences,
      Float32Array,
    ),
  };
  const rowIndptr = indptrOf(slots.map((own) => own.length));
  return {
    ...batch,
    sequences: batch.sequences.map((_, index) => index),
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: rowIndptr[slots.length]!,
    host: part,
  };
}

/** The parts of a table of all sequences that belong to the batch's, one after another. */
function perSequence<T extends Uint8Array | Float32Array>(
  { sequences }: KvBatch,
  table: T,
  width: number,
  make: new (length: number) => T,
): T {
  const out = new make(sequences.length * width);
  sequences.forEach((sequence, index) => {
    out.set(table.subarray(sequence * width, (sequence + 1) * width), index * width);
  });
  return out;
}

function emptyArena({ layout }: HostArena, numBlocks: number): HostArena {
  const slots = numBlocks * layout.blockSize;
  return {
    layout,
    numBlocks,
    storage: new Uint8Array(numBlocks * blockBytes(layout)),
    positions: new Int32Array(slots),
    sumAttention: new Float32Array(slots),
    sumSquaredAttention: new Float32Array(slots),
  };
}

/** Copies slots of a row to the start of another, whatever the codec; neighbours in one piece. */
function copySlots(from: RowView, slots: ArrayLike<number>, to: RowView): void {
  const { layout } = from.arena;
  const { blockSize } = layout;
  const stride = blockBytes(layout);
  const widths = [entryBytes(layout.key), entryBytes(layout.value)] as const;
  const starts = [0, blockSize * widths[0]] as const;
  const at = (slot: number, side: 0 | 1) =>
    Math.floor(slot / blockSize) * stride + starts[side] + (slot % blockSize) * widths[side];
  for (let j = 0; j < slots.length; ) {
    const source = slotOf(from, slots[j]!);
    const target = slotOf(to, j);
    // As far as both sides stay in one block.
    const most = blockSize - Math.max(source % blockSize, target % blockSize);
    let count = 1;
    while (count < most && slots[j + count] === slots[j]! + count) count++;
    for (const side of [0, 1] as const) {
      const first = at(source, side);
      const bytes = from.arena.storage.subarray(first, first + count * widths[side]);
      to.arena.storage.set(bytes, at(target, side));
    }
    for (let i = 0; i < count; i++) {
      to.arena.positions[target + i] = from.arena.positions[source + i]!;
      to.arena.sumAttention[target + i] = from.arena.sumAttention[source + i]!;
      to.arena.sumSquaredAttention[target + i] = from.arena.sumSquaredAttention[source + i]!;
    }
    j += count;
  }
}
