import {
  blockBytes,
  blocksFor,
  type CacheLayoutOptions,
  cacheLayout,
  type HostCache,
  hostTensor,
  indptrOf,
  type KvBatch,
  type KvShape,
  type Protect,
} from "@kvcache/core";
import { entryStore } from "./entry-store.ts";
import { gatherKeys, gatherPositions, gatherValues, rowView, slotOf } from "./row-view.ts";

/** Repeatable numbers in [0, 1) for tests (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
}

/** f32 [length], roughly normal. */
export const randomFloats = (random: () => number, length: number, scale = 1): Float32Array =>
  Float32Array.from(
    { length },
    () => (random() + random() + random() + random() - 2) * 1.7 * scale,
  );

export interface TestCacheOptions extends CacheLayoutOptions {
  readonly maxSequences?: number;
  readonly numBlocks?: number;
  readonly windowSize?: number;
  readonly layerMap?: readonly number[];
}

/** A host cache for tests: blocks come from a scrambled free list and are never given back. */
export function testCache(shape: KvShape, options: TestCacheOptions = {}) {
  const { maxSequences = 2, numBlocks = 512, windowSize = 0 } = options;
  const layout = cacheLayout(shape, options);
  const block = layout.arenas[0]!;
  const numSlots = numBlocks * block.blockSize;
  const numRows = shape.numLayers * shape.numKvHeads;
  const cache: HostCache = {
    layout: { ...layout, layerMap: options.layerMap ?? layout.layerMap },
    maxSequences,
    maxBlocksPerRow: numBlocks,
    arenas: [
      {
        layout: block,
        numBlocks,
        storage: new Uint8Array(numBlocks * blockBytes(block)),
        positions: new Int32Array(numSlots).fill(-1),
        sumAttention: new Float32Array(numSlots).fill(Number.NaN),
        sumSquaredAttention: new Float32Array(numSlots).fill(Number.NaN),
      },
    ],
    arenaOfLayer: new Uint8Array(maxSequences * shape.numLayers),
    blockTables: new Int32Array(maxSequences * numRows * numBlocks).fill(-1),
    lengths: new Int32Array(maxSequences * numRows),
    nextPositions: new Int32Array(maxSequences),
    windowSize,
    windowQueries: new Float32Array(
      maxSequences * shape.numLayers * windowSize * shape.numQueryHeads * shape.headDim,
    ),
  };
  const random = randomNumbers(numBlocks);
  const free = Array.from({ length: numBlocks }, (_, i) => i)
    .map((id) => ({ id, key: random() }))
    .sort((a, b) => a.key - b.key)
    .map(({ id }) => id);

  const owners = [...new Set(cache.layout.layerMap)];
  const resize = (sequence: number, row: number, length: number) => {
    const index = sequence * numRows + row;
    const table = index * numBlocks;
    for (let i = 0; i < blocksFor(length, block.blockSize); i++)
      if (cache.blockTables[table + i] === -1) cache.blockTables[table + i] = free.pop()!;
    cache.lengths[index] = length;
  };

  return {
    cache,
    /** Makes room for `tokens` tokens in every row, at the next positions. */
    append(sequence: number, tokens: number) {
      const next = cache.nextPositions[sequence]!;
      for (const layer of owners)
        for (let head = 0; head < shape.numKvHeads; head++) {
          const row = layer * shape.numKvHeads + head;
          const before = cache.lengths[sequence * numRows + row]!;
          resize(sequence, row, before + tokens);
          const view = rowView(cache, sequence, layer, head);
          for (let i = 0; i < tokens; i++)
            view.arena.positions[slotOf(view, before + i)] = next + i;
        }
      cache.nextPositions[sequence] = next + tokens;
    },
    /** Keeps some slots of a row, in the order given. */
    keep(sequence: number, layer: number, head: number, slots: readonly number[]) {
      const view = rowView(cache, sequence, layer, head);
      const keys = gatherKeys(view);
      const values = gatherValues(view);
      const positions = gatherPositions(view);
      const { arena } = view;
      const sums = [arena.sumAttention, arena.sumSquaredAttention];
      const oldSums = sums.map((table) =>
        Float32Array.from(positions, (_, j) => table[slotOf(view, j)]!),
      );
      slots.forEach((from, to) => {
        const slot = slotOf(view, to);
        const [id, offset] = [Math.floor(slot / block.blockSize), slot % block.blockSize];
        entryStore(arena, "key").write(id, offset, keys, from * shape.headDim);
        entryStore(arena, "value").write(id, offset, values, from * shape.headDim);
        arena.positions[slot] = positions[from]!;
        sums.forEach((table, i) => {
          table[slot] = oldSums[i]![from]!;
        });
      });
      resize(sequence, layer * shape.numKvHeads + head, slots.length);
    },
    /** Writes a row's keys, f32 [tokens, headDim], as if a step had. */
    writeKeys(sequence: number, layer: number, head: number, keys: Float32Array) {
      const view = rowView(cache, sequence, layer, head);
      for (let j = 0; j < view.length; j++) {
        const slot = slotOf(view, j);
        entryStore(view.arena, "key").write(
          Math.floor(slot / block.blockSize),
          slot % block.blockSize,
          keys,
          j * shape.headDim,
        );
      }
    },
  };
}

/** A batch over sequences of a test cache. */
export function testBatch(
  cache: HostCache,
  sequences: readonly number[],
  options: {
    protect?: Protect;
    windowLengths?: readonly number[];
    layers?: readonly number[];
  } = {},
): KvBatch {
  const { shape } = cache.layout;
  const layers = options.layers ?? Array.from({ length: shape.numLayers }, (_, layer) => layer);
  const lengths = sequences.flatMap((sequence) =>
    layers.flatMap((layer) =>
      Array.from(
        { length: shape.numKvHeads },
        (_, head) => rowView(cache, sequence, layer, head).length,
      ),
    ),
  );
  const rowIndptr = indptrOf(lengths);
  const nextPositions = sequences.map((sequence) => cache.nextPositions[sequence]!);
  return {
    shape,
    layout: cache.layout,
    sequences,
    layers,
    numRows: lengths.length,
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: rowIndptr[lengths.length]!,
    nextPositions,
    windowLengths:
      options.windowLengths ?? nextPositions.map((next) => Math.min(next, cache.windowSize)),
    protect: options.protect ?? { sinks: 0, recent: 0 },
    phase: "prefill",
    host: cache,
  };
}
