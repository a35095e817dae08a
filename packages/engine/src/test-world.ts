import {
  type Backend,
  type CachePlan,
  cacheLayout,
  type DecoderGraph,
  defineKernel,
  definePolicy,
  type EvictionPolicy,
  type HostCache,
  hostArray,
  hostTensor,
  type KvBatch,
  type KvShape,
  type RopeScaling,
  type Signal,
  type StepInput,
  signalFlag,
  type Tensor,
  type TokenDraws,
  type Trigger,
} from "@kvcache/core";
import {
  createHostEncoder,
  drawSettings,
  drawTokens,
  forEachRow,
  recordTopK,
  rowView,
  slotOf,
  uniformCounts,
} from "@kvcache/kernels";
import { createPagedCache, type PagedCache } from "@kvcache/paged";
import type { EngineOptions } from "./engine.ts";
import type { ServedModel } from "./runtime.ts";
import { fakeNodes, mix, tapOf } from "./test-graph.ts";
import { type TestObserver, testObserver } from "./test-observer.ts";

export { mix } from "./test-graph.ts";

// A world for tests without floating-point noise: the "model" writes each token's id into its key,
// and its logits are a hash of exactly the entries that its cache shows it. One lost, doubled or
// misplaced entry anywhere changes every later token.

export const VOCAB = 61;
const shape: KvShape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 2 };

export interface WorldOptions {
  readonly numBlocks?: number;
  readonly maxSequences?: number;
  readonly blockSize?: number;
  readonly maxTokensPerSequence?: number;
  readonly windowSize?: number;
  readonly slidingWindow?: readonly (number | undefined)[];
  readonly rope?: RopeScaling;
  readonly maxPositions?: number;
  /** Whether the backend chooses tokens itself where nobody asks for logits. */
  readonly chooses?: boolean;
  /** Whether the backend draws tokens itself where nobody asks for logits. */
  readonly draws?: boolean;
  /** Called before every pass; may throw or wait. */
  readonly onForward?: (step: StepInput) => void | Promise<void>;
}

export interface World extends Pick<EngineOptions, "model" | "backend"> {
  readonly cache: PagedCache;
  /** Sizes of the passes so far, in tokens. */
  readonly passes: number[];
  /** Sizes of those that gave out values of the graph. */
  readonly tapped: number[];
  /** Steps of each time that the backend chose tokens itself. */
  readonly choices: number[];
  /** Asserts that nobody holds a block any more, prefixes aside. */
  numHeldBlocks(): number;
}

export function createWorld(options: WorldOptions = {}): World {
  const { blockSize = 4, maxSequences = 16, windowSize = 8, maxPositions = 1000 } = options;
  const slidingWindow = options.slidingWindow ?? [undefined, undefined];
  const cache = createPagedCache({
    layout: cacheLayout(shape, { blockSize, slidingWindow }),
    maxSequences,
    maxTokensPerSequence: options.maxTokensPerSequence ?? 1000,
    numBlocks: options.numBlocks ?? 4000,
    windowSize,
    shared: false,
  });
  const passes: number[] = [];
  const tapped: number[] = [];
  const choices: number[] = [];
  const dynamicRope = options.rope !== undefined;
  const backend: Backend = {
    name: "fake",
    description: "fake: hashes what the cache shows",
    signals: [
      "windowQueries",
      "attentionSums",
      "chunkQueries",
      "queryStatistics",
      "hidden",
      "headOutputs",
      "replay",
      "blockBounds",
      "outputWeight",
    ],
    attach: () => ({
      load: async (_graph, _weights, { taps: names = [] } = {}) => ({
        ...(options.chooses && {
          async choose(numSteps: number, stepAt: (index: number) => StepInput) {
            const chosen: number[] = [];
            let last: Int32Array = Int32Array.of();
            for (let i = 0; i < numSteps; i++) {
              const step = stepAt(i);
              passes.push(step.tokenIds.length);
              await options.onForward?.(step);
              const given = i > 0 ? { ...step, tokenIds: last } : step;
              last = likeliest(forward(cache.host, given, slidingWindow, dynamicRope));
              chosen.push(...last);
            }
            choices.push(numSteps);
            return Int32Array.from(chosen);
          },
        }),
        ...(options.draws && {
          async draw(step: StepInput, draws: TokenDraws) {
            passes.push(step.tokenIds.length);
            await options.onForward?.(step);
            choices.push(1);
            const logits = hostTensor(forward(cache.host, step, slidingWindow, dynamicRope));
            const tokens = new Int32Array(step.logitIndices.length);
            const settings = hostTensor(drawSettings(draws));
            drawTokens.reference({ logits, settings, tokens: hostTensor(tokens) });
            return tokens;
          },
        }),
        async forward(step, taps) {
          passes.push(step.tokenIds.length);
          await options.onForward?.(step);
          if (taps) tapped.push(step.tokenIds.length);
          for (const name of taps ? names : []) taps!.set(name, tapOf(name, step));
          return forward(cache.host, step, slidingWindow, dynamicRope);
        },
        dispose: async () => {},
      }),
      encoder: () => createHostEncoder(),
      fallbacks: () => new Map(),
      dispose: async () => {},
    }),
    dispose: async () => {},
  };
  return {
    cache,
    backend,
    model: modelOf(slidingWindow, maxPositions, options.rope),
    passes,
    tapped,
    choices,
    numHeldBlocks() {
      const { totalBlocks, freeBlocks, reclaimableBlocks } = cache.stats().arenas[0]!;
      return totalBlocks - freeBlocks - reclaimableBlocks;
    },
  };
}

const likeliest = (logits: Float32Array): Int32Array =>
  Int32Array.from({ length: logits.length / VOCAB }, (_, row) => {
    const own = logits.subarray(row * VOCAB, (row + 1) * VOCAB);
    return own.indexOf(Math.max(...own));
  });

function modelOf(
  slidingWindow: readonly (number | undefined)[],
  maxPositions: number,
  scaling: RopeScaling = { type: "default" },
): ServedModel {
  const graph: DecoderGraph = {
    shape,
    hiddenSize: 8,
    vocabSize: VOCAB,
    maxPositions,
    ropes: [{ theta: 10000, dim: 2, maxPositions, scaling }],
    slidingWindow,
    nodes: fakeNodes(shape),
    output: "logits",
  };
  const weights = {
    has: () => false,
    get: () => {
      throw new Error("The fake model has no weights.");
    },
  };
  return {
    name: "fake",
    graph,
    weights,
    tokenizer: undefined,
    generationConfig: { eosTokenIds: [], maxNewTokens: undefined },
    fingerprint: "fake",
  };
}

function forward(
  host: HostCache,
  step: StepInput,
  slidingWindow: readonly (number | undefined)[],
  dynamicRope: boolean,
): Float32Array {
  const { numLayers, numKvHeads, numQueryHeads, headDim } = shape;
  const keys = new Float32Array(host.arenas[0]!.storage.buffer, host.arenas[0]!.storage.byteOffset);
  const { blockSize } = host.arenas[0]!.layout;
  const keyAt = (slot: number) =>
    Math.floor(slot / blockSize) * blockSize * headDim * 2 + (slot % blockSize) * headDim;
  const hashes = new Uint32Array(step.tokenIds.length);

  step.sequences.forEach((sequence, s) => {
    const [begin, end] = [step.cuTokens[s]!, step.cuTokens[s + 1]!];
    const flags = step.signalFlags[s]!;
    for (let row = 0; row < numLayers * numKvHeads; row++) {
      const layer = Math.floor(row / numKvHeads);
      const view = rowView(host, sequence, layer, row % numKvHeads);
      const { positions, sumAttention, sumSquaredAttention } = view.arena;
      for (let t = begin; t < end; t++) {
        const slot = slotOf(view, view.length - (end - t));
        if (positions[slot] !== step.positions[t])
          throw new Error(`Slot of position ${positions[slot]} for ${step.positions[t]}.`);
        keys[keyAt(slot)] = step.tokenIds[t]!;
        keys[keyAt(slot) + 1] = dynamicRope ? step.ropeLengths[t]! : 0;
      }
      for (let t = begin; t < end; t++) {
        const at = step.positions[t]!;
        const oldest = at - (slidingWindow[layer] ?? Number.POSITIVE_INFINITY) + 1;
        for (let j = 0; j < view.length; j++) {
          const slot = slotOf(view, j);
          const position = positions[slot]!;
          if (position > at || position < oldest) continue;
          const id = keys[keyAt(slot)]!;
          const entry = mix(row * 1000 + id, position, keys[keyAt(slot) + 1]!);
          hashes[t] = (hashes[t]! + entry) >>> 0;
          if (at - position < step.attentionBuffers[s]!) continue;
          const weight = mix(step.tokenIds[t]!, id, row) % 16;
          if (flags & signalFlag.sumAttention) sumAttention[slot]! += weight;
          if (flags & signalFlag.sumSquaredAttention) sumSquaredAttention[slot]! += weight * weight;
        }
        if (flags & signalFlag.windowQueries && row % numKvHeads === 0) {
          const ring = (sequence * numLayers + layer) * host.windowSize + (at % host.windowSize);
          const width = numQueryHeads * headDim;
          host.windowQueries.fill(step.tokenIds[t]! + 1, ring * width, (ring + 1) * width);
        }
      }
    }
  });
  const logits = new Float32Array(step.logitIndices.length * VOCAB);
  step.logitIndices.forEach((t, i) => {
    for (let v = 0; v < VOCAB; v++)
      logits[i * VOCAB + v] = mix(hashes[t]!, step.positions[t]!, v) / 2 ** 30;
  });
  return logits;
}

/** What the observer of a sequence knows of a position; it must know all of them, and no others. */
function gatheredBy(batch: KvBatch, sequenceIndex: number): (position: number) => number {
  const { seen, replayed } = batch.observers![sequenceIndex] as TestObserver;
  const next = batch.nextPositions[sequenceIndex]!;
  if (seen.length !== next) throw new Error(`The observer saw ${seen.length} tokens of ${next}.`);
  return (position) => (seen[position] ?? 0) + (replayed.get(position) ?? 0);
}

/** Scores a token by its id, its position and whatever the signals say about it. */
const testScore = defineKernel<{ batch: KvBatch; out: Tensor; needs: readonly Signal[] }>({
  name: "test-score",
  reference({ batch, out, needs }) {
    const scores = hostArray(out, "f32");
    const host = batch.host!;
    const keys = new Float32Array(
      host.arenas[0]!.storage.buffer,
      host.arenas[0]!.storage.byteOffset,
    );
    const { blockSize } = host.arenas[0]!.layout;
    const { numLayers, numQueryHeads, headDim } = batch.shape;
    const gathered = batch.sequences.map((_, i) =>
      batch.observers?.[i] ? gatheredBy(batch, i) : () => 0,
    );
    forEachRow(batch, ({ view, begin, sequence, sequenceIndex, layer, head }) => {
      let queries = 0;
      for (const need of needs)
        if (need.kind === "windowQueries")
          for (let i = 1; i <= need.window; i++) {
            // Misses of the observation window would show as another kept set.
            const position = batch.nextPositions[sequenceIndex]! - i;
            if (i > batch.windowLengths[sequenceIndex]!) break;
            const ring = (sequence * numLayers + layer) * host.windowSize;
            const at = (ring + (position % host.windowSize)) * numQueryHeads * headDim;
            queries = mix(queries, host.windowQueries[at]!, i);
          }
      for (let j = 0; j < view.length; j++) {
        const slot = slotOf(view, j);
        const { positions, sumAttention, sumSquaredAttention } = view.arena;
        const key = Math.floor(slot / blockSize) * blockSize * headDim * 2;
        const id = keys[key + (slot % blockSize) * headDim]!;
        const sums = needs.some(({ kind }) => kind === "attentionSums")
          ? sumAttention[slot]! + 3 * sumSquaredAttention[slot]!
          : 0;
        const seen = gathered[sequenceIndex]!(positions[slot]!);
        scores[begin + j] =
          sums * 4 + mix(queries + seen, id * 7 + head, positions[slot]!) / 2 ** 32 + layer;
      }
    });
  },
});

export interface TestPolicyOptions {
  readonly needs?: readonly Signal[];
  readonly trigger?: Trigger;
  readonly recent?: number;
  readonly name?: string;
}

/** A policy over the fake model whose kept set shows every signal that it did not get. */
export function testPolicy(options: TestPolicyOptions = {}): EvictionPolicy {
  const { needs = [], trigger = { prefill: true, pressure: false }, recent = 2 } = options;
  const observes = needs.some(({ kind }) => !["windowQueries", "attentionSums"].includes(kind));
  return definePolicy({
    name: options.name ?? "test",
    paper: "none",
    scorer: {
      name: "test",
      needs,
      ...(observes && { createObserver: () => testObserver(needs) }),
      score: (encoder, batch, out) => encoder.run(testScore, { batch, out, needs }),
    },
    budget: {
      name: "uniform",
      needs: [],
      resolve: ({ target, lengths }) =>
        "tokens" in target ? target.tokens * lengths.length : lengths.reduce((a, b) => a + b, 0),
      allocate: (encoder, { batch, target, scores }, counts) =>
        encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
    },
    selector: {
      name: "top-k",
      select: (encoder, batch, scores, counts) => recordTopK(encoder, batch, scores, counts),
    },
    trigger,
    protect: { sinks: 1, recent },
    queryAware: false,
    options: { needs: needs.map(({ kind }) => kind), trigger, recent },
  });
}

export const testPlan = (tokens: number, options: TestPolicyOptions = {}): CachePlan => ({
  eviction: { policy: testPolicy(options), target: { tokens } },
});

/** Repeatable token ids. */
export const promptOf = (seed: number, length: number): number[] =>
  Array.from({ length }, (_, i) => mix(seed, i, 5) % VOCAB);
