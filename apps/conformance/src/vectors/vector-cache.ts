import { blocksFor, cacheLayout, type KvShape, numRows, ropeTable } from "@kvcache/core";
import { rope } from "@kvcache/kernels";
import {
  createPagedCache,
  type PagedCache,
  type PagedCacheOptions,
  writeEntries,
} from "@kvcache/paged";
import { floats, type VectorCase } from "./case.ts";

export const shapeOf = ({ shape }: VectorCase): KvShape => ({
  numLayers: shape.layers,
  numQueryHeads: shape.queryHeads,
  numKvHeads: shape.kvHeads,
  headDim: Math.max(1, shape.headDim),
});

export interface EmptyCacheOptions extends Pick<PagedCacheOptions, "compaction"> {
  readonly shape: KvShape;
  readonly tokens: number;
  readonly windowSize: number;
  readonly blockSize?: number;
  /** Room for so many more. */
  readonly extraTokens?: number;
}

/** A cache with room for one sequence of `tokens` tokens, and that sequence, opened and appended. */
export function cacheOf({
  shape,
  tokens,
  windowSize,
  blockSize = 16,
  extraTokens = 0,
  ...rest
}: EmptyCacheOptions) {
  const cache = createPagedCache({
    layout: cacheLayout(shape, { blockSize }),
    maxSequences: 1,
    maxTokensPerSequence: Math.max(1, tokens + extraTokens),
    numBlocks: numRows(shape) * Math.max(1, blocksFor(tokens + extraTokens, blockSize)),
    windowSize,
    ...rest,
  });
  const sequence = cache.open();
  cache.append(sequence, tokens);
  return { cache, sequence };
}

/**
 * A cache that holds the case's keys, values and last queries, as after its prefill. `numQueries` is
 * how many queries the case gives: zeros stand in where it gives none.
 */
export function filledCache(
  vector: VectorCase,
  window: number,
  blockSize?: number,
  extraTokens = 0,
) {
  const shape = shapeOf(vector);
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const { tokens } = vector.shape;
  const { cache, sequence } = cacheOf({
    shape,
    tokens,
    windowSize: window,
    extraTokens,
    ...(blockSize !== undefined && { blockSize }),
  });
  const perRow = tokens * headDim;
  const keys = cachedKeys(vector, numLayers * numKvHeads * perRow);
  const values = floats(vector, "values", keys.length);
  for (let row = 0; row < numLayers * numKvHeads; row++)
    writeEntries(
      cache,
      sequence,
      Math.floor(row / numKvHeads),
      row % numKvHeads,
      keys.subarray(row * perRow, (row + 1) * perRow),
      values.subarray(row * perRow, (row + 1) * perRow),
    );
  const given = vector.tensors.get("queries")?.shape[2] ?? tokens;
  const queries = floats(vector, "queries", numLayers * numQueryHeads * given * headDim);
  const numQueries = Math.min(window, given, tokens);
  for (let layer = 0; layer < numLayers; layer++)
    for (let head = 0; head < numQueryHeads; head++)
      for (let i = 1; i <= numQueries; i++) {
        const from = ((layer * numQueryHeads + head) * given + given - i) * headDim;
        writeQuery(cache, layer, head, tokens - i, queries.subarray(from, from + headDim));
      }
  return { cache, sequence, numQueries };
}

/** The case's keys; those before RoPE turned to their positions, where only they are given. */
function cachedKeys(vector: VectorCase, length: number): Float32Array {
  const before = vector.tensors.get("keysPreRope");
  if (vector.tensors.has("keys") || !before) return floats(vector, "keys", length);
  const { headDim, ropeTheta: theta = 10_000, tokens } = vector.shape;
  const scaling = { type: "default" } as const;
  const positions = Int32Array.from({ length: tokens }, (_, position) => position);
  const cos = new Float32Array((tokens * headDim) / 2);
  const sin = new Float32Array(cos.length);
  ropeTable({ theta, dim: headDim, maxPositions: tokens, scaling }, positions, positions, cos, sin);
  const out = new Float32Array(length);
  const perRow = tokens * headDim;
  for (let from = 0; from < length; from += perRow) {
    const input = Float32Array.from(before.data.subarray(from, from + perRow));
    const row = out.subarray(from, from + perRow);
    rope.reference({ input, out: row, cos, sin, numTokens: tokens, numHeads: 1 });
  }
  return out;
}

/** Puts the query of a position into the cache's ring of last queries (sequence 0). */
export function writeQuery(
  { host }: PagedCache,
  layer: number,
  head: number,
  position: number,
  query: Float32Array,
): void {
  const { numQueryHeads, headDim } = host.layout.shape;
  const row = layer * host.windowSize + (position % host.windowSize);
  host.windowQueries.set(query, (row * numQueryHeads + head) * headDim);
}
