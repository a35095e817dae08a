/**
 * What a scorer may ask the forward pass for. Window queries and attention sums are written into side
 * buffers of the cache, switched on per sequence: a new policy does not recompile. Chunk signals go
 * to the scorer's observer, from values that the model was loaded to give out (`LoadOptions.taps`).
 */
export type Signal =
  /** The last `window` queries after RoPE, per layer: [window, numQueryHeads, headDim]. */
  | { readonly kind: "windowQueries"; readonly window: number }
  /**
   * Per cached slot, summed over the query heads of its group and over the queries of `phase`:
   * Σa (power 1) or Σa² (power 2). Queries closer than `buffer` positions to a key are not counted.
   */
  | {
      readonly kind: "attentionSums";
      readonly power: 1 | 2;
      readonly phase: "all" | "decode";
      readonly buffer?: number;
    }
  /** Queries before RoPE of every token from position `skip` on; see Observation. */
  | { readonly kind: "queryStatistics"; readonly skip: number }
  /** All queries of the running chunk, after RoPE; see Observation. */
  | { readonly kind: "chunkQueries" }
  /** Inputs of the attention blocks of the running chunk; see Observation. */
  | { readonly kind: "hidden" }
  /**
   * Extra forward passes over given tokens before each compression; their own entries leave the
   * cache again. What they show goes to the scorer's observer, with the chunk signals it asks for.
   */
  | {
      readonly kind: "replay";
      readonly passes: (context: ReplayContext) => readonly ReplayPass[];
    }
  /** Channel-wise minimum and maximum of the keys of each block. */
  | { readonly kind: "blockBounds" }
  /** The model's output projections W_O; see ModelView. */
  | { readonly kind: "outputWeight" }
  /** Attention output per head and the residual stream; profiling runs only. */
  | { readonly kind: "headOutputs" };

/** What a policy may build its replay passes from. */
export interface ReplayContext {
  /** Token ids of everything cached so far. */
  readonly tokenIds: Int32Array;
  /** Encodes text without special tokens. */
  readonly tokenize: (text: string) => Int32Array;
  /** What the chat template puts around a first user message; absent where there is no template. */
  readonly chat?: ChatFrame | undefined;
}

/** Token ids before a first user message, and from its end to the start of the answer. */
export interface ChatFrame {
  readonly prefix: Int32Array;
  readonly suffix: Int32Array;
}

/** One extra pass: these tokens are fed after the cache, and scored slots lie in [start, end). */
export interface ReplayPass {
  readonly tokenIds: Int32Array;
  readonly start: number;
  readonly end: number;
}

export type SignalKind = Signal["kind"];

/** Bits of the per-sequence `signalFlags` of a step. */
export const signalFlag = {
  windowQueries: 1,
  sumAttention: 2,
  sumSquaredAttention: 4,
} as const;
