import { KvCacheError } from "./errors.ts";
import { checkShape, type KvShape } from "./shape.ts";

/** How the numbers of an entry are stored. Widths below 8 bits are packed along the width. */
export type StorageDtype = "f32" | "f16" | "int8" | "int4" | "int2";

const bitsOf: Record<StorageDtype, number> = { f32: 32, f16: 16, int8: 8, int4: 4, int2: 2 };

/** One side (key or value) of an entry: `width` numbers, plus `metaBytes` a token for scales. */
export interface EntryLayout {
  readonly dtype: StorageDtype;
  readonly width: number;
  readonly metaBytes: number;
}

/**
 * The layout of a block: `blockSize` tokens of one KV head of one layer of one sequence.
 * In memory: keys [blockSize, keyBytes], then values [blockSize, valueBytes], row-major (HND).
 */
export interface BlockLayout {
  readonly blockSize: number;
  readonly key: EntryLayout;
  readonly value: EntryLayout;
}

export const entryBytes = (entry: EntryLayout): number =>
  Math.ceil((entry.width * bitsOf[entry.dtype]) / 8) + entry.metaBytes;

/** Bytes of one cached token of one row. */
export const tokenBytes = (layout: BlockLayout): number =>
  entryBytes(layout.key) + entryBytes(layout.value);

export const blockBytes = (layout: BlockLayout): number => layout.blockSize * tokenBytes(layout);

/** Blocks that `tokens` tokens of one row occupy. */
export const blocksFor = (tokens: number, blockSize: number): number =>
  Math.ceil(tokens / blockSize);

/**
 * The layout of a whole cache. Layers of different codecs live in different arenas, which cannot
 * lend blocks to each other and are accounted apart; `layerMap[layer]` is the layer whose blocks
 * it reads (itself unless layers share).
 */
export interface CacheLayout {
  readonly shape: KvShape;
  readonly arenas: readonly BlockLayout[];
  readonly arenaOfLayer: readonly number[];
  readonly layerMap: readonly number[];
  /** Positions that each layer can see, itself included; undefined = all. Length numLayers. */
  readonly slidingWindow: readonly (number | undefined)[];
}

export interface CacheLayoutOptions {
  readonly blockSize?: number;
  readonly dtype?: "f32" | "f16";
  readonly slidingWindow?: readonly (number | undefined)[];
}

/** The plain layout: one arena, every layer its own blocks, keys and values of headDim numbers. */
export function cacheLayout(shape: KvShape, options: CacheLayoutOptions = {}): CacheLayout {
  checkShape(shape);
  const { blockSize = 16, dtype = "f32" } = options;
  if (!Number.isInteger(blockSize) || blockSize < 1 || blockSize > 1024)
    throw new KvCacheError(
      "invalid-argument",
      `blockSize must be an integer in 1 … 1024, got ${blockSize}.`,
      {
        value: blockSize,
      },
    );
  const entry: EntryLayout = Object.freeze({ dtype, width: shape.headDim, metaBytes: 0 });
  const layers = Array.from({ length: shape.numLayers }, (_, layer) => layer);
  return Object.freeze({
    shape,
    arenas: [Object.freeze({ blockSize, key: entry, value: entry })],
    arenaOfLayer: layers.map(() => 0),
    layerMap: layers,
    slidingWindow: layers.map((layer) => options.slidingWindow?.[layer]),
  });
}

/** Bytes of one token over all rows of a sequence (layers that read another's blocks cost nothing). */
export function sequenceTokenBytes(layout: CacheLayout): number {
  let bytes = 0;
  for (let layer = 0; layer < layout.shape.numLayers; layer++)
    if (layout.layerMap[layer] === layer)
      bytes += layout.shape.numKvHeads * tokenBytes(layout.arenas[layout.arenaOfLayer[layer]!]!);
  return bytes;
}
