import {
  blocksFor,
  cacheLayout,
  type Encoder,
  hostTensor,
  indptrOf,
  type KvShape,
  numRows,
  type SequenceSlot,
} from "@kvcache/core";
import { createHostEncoder, gatherPositions, pagedAttention, rowView } from "@kvcache/kernels";
import { createPagedCache, type PagedCache } from "@kvcache/paged";
import { type RandomTokens, randomTokens } from "./random-tokens.ts";

export interface TokenCacheOptions {
  readonly shape: KvShape;
  readonly seed: number;
  readonly sequences: number;
  readonly maxTokens: number;
  readonly blockSize?: number;
  readonly windowSize: number;
}

export interface FeedOptions {
  /** Bits of `signalFlag`. */
  readonly flags: number;
  readonly buffer?: number;
}

/** A paged cache that is fed random tokens, as a decoder would, without a decoder. */
export interface TokenCache {
  readonly cache: PagedCache;
  readonly sequences: readonly SequenceSlot[];
  readonly tokens: RandomTokens;
  /**
   * Appends tokens to a sequence and attends over its cache: one attention output per layer,
   * f32 [count, numQueryHeads × headDim].
   */
  feed(sequence: SequenceSlot, count: number, options: FeedOptions): Float32Array[];
  /** Keeps slots of every row of a sequence, as `choose` says from the row's positions. */
  keep(
    sequence: SequenceSlot,
    choose: (positions: Int32Array, row: number) => readonly number[],
  ): Promise<void>;
  /** Positions of a row in slot order; row = layer × numKvHeads + head. */
  positions(sequence: SequenceSlot, row: number): Int32Array;
}

export function tokenCache(options: TokenCacheOptions): TokenCache {
  const { shape, seed, maxTokens, blockSize = 4, windowSize } = options;
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const rows = numRows(shape);
  const cache = createPagedCache({
    layout: cacheLayout(shape, { blockSize }),
    maxSequences: options.sequences,
    maxTokensPerSequence: maxTokens,
    numBlocks: options.sequences * rows * (blocksFor(maxTokens, blockSize) + 1),
    windowSize,
  });
  const sequences = Array.from({ length: options.sequences }, () => cache.open());
  const tokens = randomTokens(shape, seed);
  const encoder: Encoder = createHostEncoder();
  const positionsOf = (sequence: SequenceSlot, row: number) =>
    gatherPositions(rowView(cache.host, sequence, Math.floor(row / numKvHeads), row % numKvHeads));

  return {
    cache,
    sequences,
    tokens,
    feed(sequence, count, { flags, buffer = 0 }) {
      const first = cache.host.nextPositions[sequence]!;
      const positions = Int32Array.from({ length: count }, (_, i) => first + i);
      cache.append(sequence, count);
      return Array.from({ length: numLayers }, (_, layer) => {
        const all = Array.from(positions, (position) => tokens(sequence, layer, position));
        const out = new Float32Array(count * numQueryHeads * headDim);
        encoder.run(pagedAttention, {
          cache: cache.host,
          layer,
          scale: 1 / Math.sqrt(headDim),
          query: joined(all.map(({ query }) => query)),
          key: joined(all.map(({ key }) => key)),
          value: joined(all.map(({ value }) => value)),
          out,
          step: {
            cuTokens: Int32Array.of(0, count),
            positions,
            sequences: Int32Array.of(sequence),
            signalFlags: Int32Array.of(flags),
            attentionBuffers: Int32Array.of(buffer),
          },
        });
        return out;
      });
    },
    async keep(sequence, choose) {
      const kept = Array.from({ length: rows }, (_, row) =>
        choose(positionsOf(sequence, row), row),
      );
      const batch = cache.batch([sequence], {
        protect: { sinks: 0, recent: 0 },
        phase: "pressure",
      });
      await cache.compact(encoder, batch, {
        indptr: hostTensor(indptrOf(kept.map((slots) => slots.length))),
        indices: hostTensor(Uint32Array.from(kept.flat())),
      });
    },
    positions: positionsOf,
  };
}

function joined(parts: readonly Float32Array[]): Float32Array {
  const width = parts[0]?.length ?? 0;
  const out = new Float32Array(parts.length * width);
  parts.forEach((part, i) => {
    out.set(part, i * width);
  });
  return out;
}

/** Random slots of a row, always those below `sinks` and the last `recent` positions. */
export function randomSlots(
  random: () => number,
  positions: Int32Array,
  { sinks, recent }: { readonly sinks: number; readonly recent: number },
): number[] {
  const last = positions.reduce((most, position) => Math.max(most, position), -1);
  const slots = Array.from(positions, (position, slot) => ({ position, slot })).filter(
    ({ position }) => position < sinks || position > last - recent || random() < 0.7,
  );
  return (slots.length > 0 ? slots : [{ slot: 0 }]).map(({ slot }) => slot);
}
