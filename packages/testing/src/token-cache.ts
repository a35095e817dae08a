import {
  blocksFor,
  type CompressionPhase,
  cacheLayout,
  type Encoder,
  hostTensor,
  indptrOf,
  type KvBatch,
  type KvShape,
  numRows,
  type Observation,
  type Observer,
  type Protect,
  type ReplayPass,
  type Scorer,
  type SequenceSlot,
  type Signal,
} from "@kvcache/core";
import { createHostEncoder, gatherPositions, pagedAttention, rowView } from "@kvcache/kernels";
import { createPagedCache, type PagedCache } from "@kvcache/paged";
import { joined, randomModelView, randomObservation } from "./random-model-view.ts";
import { type RandomTokens, randomTokenId, randomTokens } from "./random-tokens.ts";

export interface TokenCacheOptions {
  readonly shape: KvShape;
  readonly seed: number;
  readonly sequences: number;
  readonly maxTokens: number;
  readonly blockSize?: number;
  readonly windowSize: number;
  /** Its observers see what is fed. Default: nobody does. */
  readonly scorer?: Scorer;
  /** Signals that observers may look at. Default: the scorer's. */
  readonly signals?: readonly Signal[];
  /** What batches say is protected. Default: nothing. */
  readonly protect?: Protect;
}

export interface FeedOptions {
  /** Bits of `signalFlag`. */
  readonly flags: number;
  readonly buffer?: number;
  /** Default "prefill". */
  readonly phase?: CompressionPhase;
}

/** A paged cache that is fed random tokens, as a decoder would, without a decoder. */
export interface TokenCache {
  readonly cache: PagedCache;
  readonly sequences: readonly SequenceSlot[];
  readonly tokens: RandomTokens;
  /**
   * Appends tokens to a sequence, attends over its cache and shows the pass to its observer: one
   * attention output per layer, f32 [count, numQueryHeads × headDim].
   */
  feed(sequence: SequenceSlot, count: number, options: FeedOptions): Float32Array[];
  /** The extra passes of the signals' `replay`, if any, behind what each sequence holds. */
  replay(): void;
  /** Rows with observers and model; default of `sequences`: all. */
  batch(phase: CompressionPhase, sequences?: readonly SequenceSlot[]): KvBatch;
  /** Keeps slots of every row of a sequence, as `choose` says from the row's positions. */
  keep(
    sequence: SequenceSlot,
    choose: (positions: Int32Array, row: number) => readonly number[],
  ): Promise<void>;
  /** Forgets positions ≥ `position` of a sequence, its observer's too. */
  truncate(sequence: SequenceSlot, position: number): void;
  /** A copy of a sequence and its observer; there is room for one. */
  fork(sequence: SequenceSlot): SequenceSlot;
  /** Positions of a row in slot order; row = layer × numKvHeads + head. */
  positions(sequence: SequenceSlot, row: number): Int32Array;
}

const nothing: Protect = { sinks: 0, recent: 0 };
/** Tokens of one part of a replay pass. */
const replayPart = 7;

export function tokenCache(options: TokenCacheOptions): TokenCache {
  const { shape, seed, blockSize = 4, windowSize, scorer, protect = nothing } = options;
  const signals = options.signals ?? scorer?.needs ?? [];
  const kinds = new Set(signals.map(({ kind }) => kind));
  const replay = signals.find((signal) => signal.kind === "replay");
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const rows = numRows(shape);
  // A replay pass repeats up to the whole prompt, with a few words before it.
  const maxTokens = replay ? 2 * options.maxTokens + 256 : options.maxTokens;
  const layout = cacheLayout(shape, { blockSize });
  const cache = createPagedCache({
    layout,
    maxSequences: options.sequences + 1,
    maxTokensPerSequence: maxTokens,
    numBlocks: (options.sequences + 1) * rows * (blocksFor(maxTokens, blockSize) + 1),
    windowSize,
  });
  const tokens = randomTokens(shape, seed);
  const model = randomModelView(shape, seed);
  const encoder: Encoder = createHostEncoder();
  const observers: (Observer | undefined)[] = [];
  const sequences = Array.from({ length: options.sequences }, () => {
    const sequence = cache.open();
    observers[sequence] = scorer?.createObserver?.(layout);
    return sequence;
  });
  const positionsOf = (sequence: SequenceSlot, row: number) =>
    gatherPositions(rowView(cache.host, sequence, Math.floor(row / numKvHeads), row % numKvHeads));
  const idsOf = (sequence: SequenceSlot, start: number, count: number) =>
    Int32Array.from({ length: count }, (_, i) => randomTokenId(seed, sequence, start + i));

  /** One pass over `count` more tokens. */
  function attend(
    sequence: SequenceSlot,
    count: number,
    { flags, buffer = 0 }: FeedOptions,
  ): Float32Array[] {
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
  }

  function observation(
    sequence: SequenceSlot,
    tokenIds: Int32Array,
    outputs: readonly Float32Array[],
  ): Observation {
    const start = cache.host.nextPositions[sequence]! - tokenIds.length;
    const vectors = (layer: number) =>
      Array.from(tokenIds, (_, i) => tokens(sequence, layer, start + i));
    return randomObservation(shape, { start, tokenIds, vectors, outputs }, model, kinds);
  }

  const batch = (phase: CompressionPhase, chosen: readonly SequenceSlot[] = sequences) =>
    cache.batch(chosen, {
      protect,
      phase,
      model,
      observers: chosen.map((sequence) => observers[sequence]),
    });

  function replayPass(sequence: SequenceSlot, pass: ReplayPass, index: number): void {
    const cached = cache.host.nextPositions[sequence]!;
    for (let from = 0; from < pass.tokenIds.length; from += replayPart) {
      const ids = pass.tokenIds.slice(from, from + replayPart);
      const outputs = attend(sequence, ids.length, { flags: 0 });
      observers[sequence]?.replay?.(
        encoder,
        { ...pass, index, cached },
        observation(sequence, ids, outputs),
        batch("prefill", [sequence]),
      );
    }
    cache.truncate(sequence, cached);
  }

  return {
    cache,
    sequences,
    tokens,
    batch,
    positions: positionsOf,
    feed(sequence, count, feedOptions) {
      const outputs = attend(sequence, count, feedOptions);
      const observer = observers[sequence];
      if (observer?.observe) {
        const first = cache.host.nextPositions[sequence]! - count;
        const seen = observation(sequence, idsOf(sequence, first, count), outputs);
        observer.observe(encoder, seen, batch(feedOptions.phase ?? "prefill", [sequence]));
      }
      return outputs;
    },
    replay() {
      for (const sequence of replay ? sequences : [])
        replay!
          .passes({
            tokenIds: idsOf(sequence, 0, cache.host.nextPositions[sequence]!),
            tokenize: (text) => Int32Array.from(text, (letter) => letter.charCodeAt(0) % 97),
          })
          .forEach((pass, index) => {
            replayPass(sequence, pass, index);
          });
    },
    async keep(sequence, choose) {
      const kept = Array.from({ length: rows }, (_, row) =>
        choose(positionsOf(sequence, row), row),
      );
      await cache.compact(encoder, batch("pressure", [sequence]), {
        indptr: hostTensor(indptrOf(kept.map((slots) => slots.length))),
        indices: hostTensor(Uint32Array.from(kept.flat())),
      });
    },
    truncate(sequence, position) {
      cache.truncate(sequence, position);
      observers[sequence]?.truncate(position);
    },
    fork(sequence) {
      const copy = cache.fork(sequence);
      observers[copy] = observers[sequence]?.fork();
      return copy;
    },
  };
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
