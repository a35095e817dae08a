import {
  type Backend,
  type CacheManager,
  type CachePlan,
  type DecoderGraph,
  type Encoder,
  KvCacheError,
  type LoadOptions,
  type ModelView,
  type SignalKind,
  type TokenDraws,
  type WeightSource,
} from "@kvcache/core";
import type { ChatTokenizer, GenerationConfig } from "@kvcache/decoder";
import { chatFrame } from "./chat-frame.ts";
import { type CompressionRequest, clearSums, compressSequences } from "./compress-sequences.ts";
import { createModelView, hasOutputWeights } from "./model-view.ts";
import { observePass } from "./observe-pass.ts";
import { narrowReads, selectReads } from "./read-blocks.ts";
import type { Sequence } from "./sequence.ts";
import { type SequencePlan, sequencePlan } from "./sequence-plan.ts";
import { type Feed, StepAssembler } from "./step-assembler.ts";
import { createTaps } from "./taps.ts";
import { createTrace, type Trace, type TraceOptions } from "./trace.ts";

/** The parts of a model that serving it takes; what `loadModel` of @kvcache/decoder returns fits. */
export interface ServedModel {
  readonly name: string;
  readonly graph: DecoderGraph;
  readonly weights: WeightSource;
  /** Undefined: the model works on token ids only. */
  readonly tokenizer: ChatTokenizer | undefined;
  readonly generationConfig: Pick<GenerationConfig, "eosTokenIds" | "maxNewTokens">;
  /** Differs between any two models: keeps their cached prefixes apart. */
  readonly fingerprint: string;
}

/** Throws `not-found` where the model has no tokenizer. */
export function tokenizerOf({ name, tokenizer }: ServedModel): ChatTokenizer {
  if (tokenizer) return tokenizer;
  throw new KvCacheError("not-found", `${name} has no tokenizer, so it takes no text.`, {
    value: name,
    remedy: "Give token ids, or load the model with its tokenizer.json.",
  });
}

export interface RuntimeOptions {
  readonly model: ServedModel;
  readonly backend: Backend;
  /** Its memory must be reachable by the backend. The caller disposes both. */
  readonly cache: CacheManager;
  readonly load?: LoadOptions;
  /** Tokens of one forward pass at most. Default 512. */
  readonly maxBatchTokens?: number;
  /**
   * Kinds of signals that plans will ask for beyond those that every engine gives: `chunkQueries`,
   * `queryStatistics`, `hidden`, `headOutputs`. Forward passes copy what they are read from, for
   * sequences that observe it only. Default: none.
   */
  readonly signals?: readonly SignalKind[];
  readonly trace?: TraceOptions;
}

/** What a forward pass gave. */
export interface PassResult {
  /** f32 [wanted rows, vocabSize]. */
  readonly logits: Float32Array;
  /** What observers threw, by index of the feed that they watched. */
  readonly failures: ReadonlyMap<number, unknown>;
}

/** A model loaded on a backend that is bound to a cache: what the engine and the runner share. */
export interface Runtime {
  readonly model: ServedModel;
  readonly cache: CacheManager;
  readonly backend: Backend;
  readonly maxBatchTokens: number;
  readonly trace: Trace | undefined;
  /** Checks a plan; throws `invalid-plan` or `missing-signal`. */
  planOf(plan: CachePlan): SequencePlan;
  /** One forward pass, shown to its observers; tokens have their slots already. */
  forward(feeds: readonly Feed[]): Promise<PassResult>;
  /**
   * Passes whose tokens the backend chooses, where it can: the likeliest of each feed that wants
   * logits, i32 [numSteps, feeds]. See `LoadedModel.choose`.
   */
  choose?(numSteps: number, feedsAt: (index: number) => readonly Feed[]): Promise<Int32Array>;
  /**
   * A pass whose tokens the backend draws, where it can: one for each feed that wants logits, i32
   * [feeds]. See `LoadedModel.draw`.
   */
  draw?(feeds: readonly Feed[], draws: TokenDraws): Promise<Int32Array>;
  /** Asks the policies of sequences that select what they read, for the step that comes next. */
  selectReads(sequences: readonly Sequence[]): Promise<void>;
  /** One compression event; see `compressSequences`. */
  compress(sequences: readonly Sequence[], request: CompressionRequest): Promise<void>;
  /**
   * Gives a sequence blocks of its own for the attention sums of its next pass, empty where it
   * gathered none so far. Throws `out-of-blocks` and changes nothing without room for copies.
   */
  ownBlocks(sequence: Sequence): Promise<void>;
  encoder(): Encoder;
  /** What policies may know of the model. */
  readonly view: ModelView;
  /** Kernels that ran on the host for want of an implementation, by name. */
  fallbacks(): ReadonlyMap<string, number>;
  dispose(): Promise<void>;
}

const none: ReadonlyMap<number, unknown> = new Map();

/** What the backend gives of this model, whose graph may hide its output projections. */
const signalsGiven = ({ signals }: Backend, graph: DecoderGraph): readonly SignalKind[] =>
  signals.filter((kind) => kind !== "outputWeight" || hasOutputWeights(graph));

export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { model, backend, cache, maxBatchTokens = 512 } = options;
  if (!Number.isSafeInteger(maxBatchTokens) || maxBatchTokens < 1)
    throw new KvCacheError(
      "invalid-argument",
      `maxBatchTokens must be a positive integer, got ${maxBatchTokens}.`,
      { value: maxBatchTokens },
    );
  const trace = createTrace(cache.layout, options.trace);
  const taps = createTaps(model.graph, backend, options.signals ?? []);
  const view = createModelView(model.graph, model.weights);
  const session = backend.attach(cache);
  const loaded = await session.load(model.graph, model.weights, {
    ...options.load,
    ...(taps.names.length > 0 && { taps: taps.names }),
  });
  const assembler = new StepAssembler();
  const tokenize = (text: string) => tokenizerOf(model).encode(text, { addSpecialTokens: false });
  const chat = () => chatFrame(model.tokenizer);
  const observing = { cache, session, taps, view };
  const tools = { ...observing, model: loaded, assembler, tokenize, chat, maxBatchTokens, trace };
  const sources = {
    backend: signalsGiven(backend, model.graph),
    tapped: taps.signals,
    fingerprint: model.fingerprint,
  };
  return Object.freeze({
    model,
    cache,
    backend,
    maxBatchTokens,
    trace,
    planOf: (plan: CachePlan) => sequencePlan(plan, cache, sources),
    view,
    async forward(feeds: readonly Feed[]) {
      const step = assembler.assemble(feeds);
      const watched = feeds.some((feed) => feed.watched);
      const values = new Map<string, Float32Array>();
      const wanted = watched && taps.names.length > 0 ? values : undefined;
      const narrowed = feeds.some(({ reads }) => reads) && narrowReads(cache.host!, feeds);
      let logits: Float32Array;
      try {
        logits = await loaded.forward(step, wanted);
      } finally {
        if (narrowed) narrowed.restore();
      }
      return { logits, failures: watched ? await observePass(observing, feeds, values) : none };
    },
    ...(loaded.choose && {
      choose: (numSteps: number, feedsAt: (index: number) => readonly Feed[]) =>
        loaded.choose!(numSteps, (index) => assembler.assemble(feedsAt(index))),
    }),
    ...(loaded.draw && {
      draw: (feeds: readonly Feed[], draws: TokenDraws) =>
        loaded.draw!(assembler.assemble(feeds), draws),
    }),
    async selectReads(sequences: readonly Sequence[]) {
      for (const sequence of sequences)
        sequence.reads = await selectReads(observing, sequence, sequence.plan.policy!);
    },
    compress: (sequences: readonly Sequence[], request: CompressionRequest) =>
      compressSequences(tools, sequences, request),
    async ownBlocks(sequence: Sequence) {
      const { slot, sums, plan, cached } = sequence;
      cache.unshare(slot!);
      if (sums === "none" && cached > 0) {
        const protect = { sinks: 0, recent: 0 };
        const encoder = session.encoder();
        const batch = cache.batch([slot!], { protect, phase: "decode" });
        clearSums(encoder, batch, plan.sums?.powers ?? []);
        await encoder.submit();
      }
      sequence.sums = "own";
    },
    encoder: () => session.encoder(),
    fallbacks: () => session.fallbacks(),
    async dispose() {
      await loaded.dispose();
      await session.dispose();
    },
  });
}
