import {
  type Backend,
  type CacheManager,
  type CachePlan,
  type DecoderGraph,
  type Encoder,
  KvCacheError,
  type LoadOptions,
  type WeightSource,
} from "@kvcache/core";
import type { ChatTokenizer, GenerationConfig } from "@kvcache/decoder";
import { type CompressionRequest, compressSequences } from "./compress-sequences.ts";
import type { Sequence } from "./sequence.ts";
import { type SequencePlan, sequencePlan } from "./sequence-plan.ts";
import { type Feed, StepAssembler } from "./step-assembler.ts";
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
  readonly trace?: TraceOptions;
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
  /** One forward pass; tokens have their slots already. Logits f32 [wanted rows, vocabSize]. */
  forward(feeds: readonly Feed[]): Promise<Float32Array>;
  /** One compression event; see `compressSequences`. */
  compress(sequences: readonly Sequence[], request: CompressionRequest): Promise<void>;
  encoder(): Encoder;
  /** Kernels that ran on the host for want of an implementation, by name. */
  fallbacks(): ReadonlyMap<string, number>;
  dispose(): Promise<void>;
}

export async function openRuntime(options: RuntimeOptions): Promise<Runtime> {
  const { model, backend, cache, maxBatchTokens = 512 } = options;
  if (!Number.isSafeInteger(maxBatchTokens) || maxBatchTokens < 1)
    throw new KvCacheError(
      "invalid-argument",
      `maxBatchTokens must be a positive integer, got ${maxBatchTokens}.`,
      { value: maxBatchTokens },
    );
  const trace = createTrace(cache.layout, options.trace);
  const session = backend.attach(cache);
  const loaded = await session.load(model.graph, model.weights, options.load);
  const assembler = new StepAssembler();
  const tokenize = (text: string) => tokenizerOf(model).encode(text, { addSpecialTokens: false });
  const tools = { cache, session, model: loaded, assembler, tokenize, maxBatchTokens, trace };
  return Object.freeze({
    model,
    cache,
    backend,
    maxBatchTokens,
    trace,
    planOf: (plan: CachePlan) => sequencePlan(plan, cache, backend.signals),
    forward: (feeds: readonly Feed[]) => loaded.forward(assembler.assemble(feeds)),
    compress: (sequences: readonly Sequence[], request: CompressionRequest) =>
      compressSequences(tools, sequences, request),
    encoder: () => session.encoder(),
    fallbacks: () => session.fallbacks(),
    async dispose() {
      await loaded.dispose();
      await session.dispose();
    },
  });
}
