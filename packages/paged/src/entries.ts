import {
  blockBytes,
  entryBytes,
  floatToHalf,
  type HostArena,
  type HostCache,
  halfToFloat,
  KvCacheError,
  type SequenceSlot,
} from "@kvcache/core";

/** The entries of one row: keys [n, key width], values [n, value width], positions [n]. */
export interface RowEntries {
  readonly keys: Float32Array;
  readonly values: Float32Array;
  readonly positions: Int32Array;
}

interface Row {
  readonly arena: HostArena;
  readonly length: number;
  /** Physical slot of slot j of the row. */
  slot(j: number): number;
}

function rowOf({ host }: { host: HostCache }, sequence: SequenceSlot, layer: number, head: number) {
  const { shape, layerMap } = host.layout;
  const owner = layerMap[layer]!;
  const row = (sequence * shape.numLayers + owner) * shape.numKvHeads + head;
  const length = host.lengths[row];
  if (length === undefined || owner === undefined || head >= shape.numKvHeads)
    throw new KvCacheError("invalid-argument", `There is no head ${head} in layer ${layer}.`, {
      value: { sequence, layer, head },
    });
  const arena = host.arenas[host.arenaOfLayer[sequence * shape.numLayers + owner]!]!;
  const { blockSize } = arena.layout;
  const slot = (j: number) =>
    host.blockTables[row * host.maxBlocksPerRow + Math.floor(j / blockSize)]! * blockSize +
    (j % blockSize);
  return { arena, length, slot } satisfies Row;
}

/** Numbers of one side of an arena by physical slot. Throws `unsupported` unless f32 or f16. */
function numbersOf(arena: HostArena, side: "key" | "value") {
  const { storage, layout } = arena;
  const { dtype, width, metaBytes } = layout[side];
  if ((dtype !== "f32" && dtype !== "f16") || metaBytes !== 0)
    throw new KvCacheError("unsupported", `The host reads plain f32 and f16, not ${dtype}.`, {
      value: layout[side],
    });
  const view = new DataView(storage.buffer, storage.byteOffset, storage.byteLength);
  const size = dtype === "f32" ? 4 : 2;
  const start = side === "key" ? 0 : layout.blockSize * entryBytes(layout.key);
  const byteOf = (slot: number) =>
    Math.floor(slot / layout.blockSize) * blockBytes(layout) +
    start +
    (slot % layout.blockSize) * width * size;
  return {
    width,
    read: (slot: number, i: number) => {
      const at = byteOf(slot) + i * size;
      return size === 4 ? view.getFloat32(at, true) : halfToFloat(view.getUint16(at, true));
    },
    write: (slot: number, i: number, x: number) => {
      const at = byteOf(slot) + i * size;
      if (size === 4) view.setFloat32(at, x, true);
      else view.setUint16(at, floatToHalf(x), true);
    },
  };
}

/**
 * Writes the last n entries of a row, as a forward pass does after `append`: keys [n, key width] and
 * values [n, value width], which stay as they are when absent.
 */
export function writeEntries(
  cache: { readonly host: HostCache },
  sequence: SequenceSlot,
  layer: number,
  head: number,
  keys: Float32Array,
  values?: Float32Array,
): void {
  const row = rowOf(cache, sequence, layer, head);
  const n = keys.length / row.arena.layout.key.width;
  if (!(Number.isInteger(n) && n <= row.length))
    throw new KvCacheError("invalid-argument", `Keys for ${n} tokens in a row of ${row.length}.`, {
      value: keys.length,
    });
  if (values && values.length !== n * row.arena.layout.value.width)
    throw new KvCacheError("invalid-argument", `${n} keys came with ${values.length} numbers.`, {
      value: values.length,
    });
  const fill = (side: "key" | "value", source: Float32Array) => {
    const { width, write } = numbersOf(row.arena, side);
    for (let j = 0; j < n; j++)
      for (let i = 0; i < width; i++)
        write(row.slot(row.length - n + j), i, source[j * width + i]!);
  };
  fill("key", keys);
  if (values) fill("value", values);
}

/** Reads a row in slot order; a layer that reads another's blocks shows those. */
export function readRow(
  cache: { readonly host: HostCache },
  sequence: SequenceSlot,
  layer: number,
  head: number,
): RowEntries {
  const { arena, length, slot } = rowOf(cache, sequence, layer, head);
  const gather = (side: "key" | "value") => {
    const { width, read } = numbersOf(arena, side);
    const out = new Float32Array(length * width);
    for (let j = 0; j < length; j++)
      for (let i = 0; i < width; i++) out[j * width + i] = read(slot(j), i);
    return out;
  };
  const positions = Int32Array.from({ length }, (_, j) => arena.positions[slot(j)]!);
  return { keys: gather("key"), values: gather("value"), positions };
}
