import type { CacheManager, CacheOptions } from "./cache.ts";
import type { Encoder } from "./encoder.ts";
import type { DecoderGraph } from "./graph.ts";
import type { SignalKind } from "./signal.ts";
import type { WeightFormat, WeightSource } from "./weights.ts";

/**
 * One forward pass over several sequences. Token i of sequence s (cuTokens[s] ≤ i < cuTokens[s+1])
 * was given its slot by `cache.append` before the step.
 */
export interface StepInput {
  /** [T]. */
  readonly tokenIds: Int32Array;
  /** [T]: true positions. */
  readonly positions: Int32Array;
  /** [T]: positions the token's call reaches, for RoPE kinds that depend on it (see ropeTable). */
  readonly ropeLengths: Int32Array;
  /** [S + 1]. */
  readonly cuTokens: Int32Array;
  /** [S]: cache slots. */
  readonly sequences: Int32Array;
  /** [numLogits]: indices into the T tokens whose logits are wanted. */
  readonly logitIndices: Int32Array;
  /** [S]: bits of `signalFlag`. */
  readonly signalFlags: Int32Array;
  /** [S]: queries closer than this to a key add nothing to its attention sums. */
  readonly attentionBuffers: Int32Array;
}

export interface LoadedModel {
  /**
   * Logits f32 [numLogits, vocabSize]. The array is the caller's. Fills `taps`, where given, with
   * the values named when the model was loaded, each [T, width].
   */
  forward(step: StepInput, taps?: Map<string, Float32Array>): Promise<Float32Array>;
  dispose(): Promise<void>;
}

export interface LoadOptions {
  readonly weightFormat?: WeightFormat;
  /** Values of the graph that forward passes give out on demand: what chunk signals are read from. */
  readonly taps?: readonly string[];
  readonly onProgress?: (done: number, total: number) => void;
  readonly signal?: AbortSignal;
}

/** A backend bound to a cache. */
export interface BackendSession {
  load(graph: DecoderGraph, weights: WeightSource, options?: LoadOptions): Promise<LoadedModel>;
  encoder(): Encoder;
  /** Kernels that ran through their reference on the host so far, by name. */
  fallbacks(): ReadonlyMap<string, number>;
  dispose(): Promise<void>;
}

export interface Backend {
  readonly name: string;
  /** One line for people: mode, versions, instruction set, threads. */
  readonly description: string;
  readonly signals: readonly SignalKind[];
  /** Makes a cache in the memory of this backend's device; absent where backends share the host's. */
  createCache?(options: CacheOptions): Promise<CacheManager>;
  /** Binds to a cache whose memory this backend can reach; one session per cache. */
  attach(cache: CacheManager): BackendSession;
  dispose(): Promise<void>;
}
