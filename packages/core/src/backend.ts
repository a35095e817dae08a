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

/** How tokens are drawn from the logits of a step, one entry for each of its `logitIndices`. */
export interface TokenDraws {
  /** 0 takes the likeliest token. */
  readonly temperatures: Float64Array;
  /** In [0, 1): where in the distribution of all tokens, by ascending id, the token lies. */
  readonly randoms: Float64Array;
}

export interface LoadedModel {
  /**
   * Logits f32 [numLogits, vocabSize]. The array is the caller's. Fills `taps`, where given, with
   * the values named when the model was loaded, each [T, width].
   */
  forward(step: StepInput, taps?: Map<string, Float32Array>): Promise<Float32Array>;
  /**
   * Passes whose logits stay on the device: the likeliest token (the lowest id of equals, as bits
   * say) at each of `logitIndices`, i32 [numSteps, numLogits]; −1 where the logits are not finite.
   * Absent where logits cost nothing to look at.
   *
   * `stepAt(i)` is asked for in order, while nothing else may use the cache, and appends the tokens
   * of step i; arrays may be reused. From the second step on, every sequence brings one token, which
   * is the one that it was given in the step before, whatever `tokenIds` says.
   */
  choose?(numSteps: number, stepAt: (index: number) => StepInput): Promise<Int32Array>;
  /**
   * A pass whose logits stay inside: a token drawn from softmax(logits / temperature) at each of
   * `logitIndices`, i32 [numLogits]; −1 where the logits are not finite. The step must want some.
   * Absent where that is no cheaper than looking at the logits.
   */
  draw?(step: StepInput, draws: TokenDraws): Promise<Int32Array>;
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
