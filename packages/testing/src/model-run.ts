import {
  type Backend,
  type BackendSession,
  blocksFor,
  type CacheManager,
  cacheLayout,
  type HostCache,
  hostTensor,
  indptrOf,
  type LoadedModel,
  type LoadOptions,
  numRows,
  type SequenceSlot,
  type StepInput,
} from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";
import type { RandomModel } from "./random-model.ts";

const maxTokens = 64;
const blockSize = 4;

/** One chunk of one sequence. */
export interface Chunk {
  readonly sequence: SequenceSlot;
  readonly tokenIds: ArrayLike<number>;
}

export interface StepOptions {
  /** Bits of `signalFlag`, for all sequences of the step. */
  readonly flags?: number;
  readonly buffer?: number;
  /** Logits of every token (default), or of the last of each chunk. */
  readonly logits?: "all" | "last";
  /** Receives the values that the model was loaded to give out. */
  readonly taps?: Map<string, Float32Array>;
}

/** A model on one backend with a cache of its own and two open sequences, 0 and 1. */
export interface ModelRun {
  readonly cache: CacheManager;
  readonly session: BackendSession;
  /** Appends the chunks and runs one forward pass over them. */
  step(chunks: readonly Chunk[], options?: StepOptions): Promise<Float32Array>;
  /** The cache as host memory, to look at. */
  host(): Promise<HostCache>;
  /** Keeps some slots of every row: `choose` is called per row of the sequence. */
  keep(
    sequence: SequenceSlot,
    choose: (row: number, length: number) => readonly number[],
  ): Promise<void>;
  dispose(): Promise<void>;
}

export async function modelRun(
  backend: Backend,
  { graph, weights }: RandomModel,
  { windowSize = 8, ...load }: { windowSize?: number } & LoadOptions = {},
): Promise<ModelRun> {
  const rows = numRows(graph.shape);
  const options = {
    layout: cacheLayout(graph.shape, { blockSize, slidingWindow: graph.slidingWindow }),
    maxSequences: 2,
    maxTokensPerSequence: maxTokens,
    numBlocks: 2 * rows * (blocksFor(maxTokens, blockSize) + 1),
    windowSize,
  };
  const cache = (await backend.createCache?.(options)) ?? createPagedCache(options);
  cache.open();
  cache.open();
  const session = backend.attach(cache);
  const model: LoadedModel = await session.load(graph, weights, load);
  return {
    cache,
    session,
    step(chunks, { flags = 0, buffer = 0, logits = "all", taps } = {}) {
      const positions = chunks.map(({ sequence, tokenIds }) => {
        const first = cache.sequenceStats(sequence).nextPosition;
        cache.append(sequence, tokenIds.length);
        return Array.from(tokenIds, (_, i) => first + i);
      });
      const cuTokens = Int32Array.from(indptrOf(chunks.map(({ tokenIds }) => tokenIds.length)));
      const numTokens = cuTokens[chunks.length]!;
      const input: StepInput = {
        tokenIds: Int32Array.from(chunks.flatMap(({ tokenIds }) => Array.from(tokenIds))),
        positions: Int32Array.from(positions.flat()),
        ropeLengths: Int32Array.from(positions.flatMap((own) => own.map(() => own.at(-1)! + 1))),
        cuTokens,
        sequences: Int32Array.from(chunks, ({ sequence }) => sequence),
        logitIndices:
          logits === "all"
            ? Int32Array.from({ length: numTokens }, (_, i) => i)
            : Int32Array.from(chunks, (_, i) => cuTokens[i + 1]! - 1),
        signalFlags: new Int32Array(chunks.length).fill(flags),
        attentionBuffers: new Int32Array(chunks.length).fill(buffer),
      };
      return model.forward(input, taps);
    },
    host: () => cache.snapshot([0, 1]),
    async keep(sequence, choose) {
      const { lengths } = cache.sequenceStats(sequence);
      const kept = Array.from(lengths, (length, row) => choose(row, length));
      const batch = cache.batch([sequence], {
        protect: { sinks: 0, recent: 0 },
        phase: "pressure",
      });
      await cache.compact(createHostEncoder(), batch, {
        indptr: hostTensor(indptrOf(kept.map((slots) => slots.length))),
        indices: hostTensor(Uint32Array.from(kept.flat())),
      });
    },
    async dispose() {
      await model.dispose();
      await session.dispose();
      cache.dispose();
    },
  };
}
