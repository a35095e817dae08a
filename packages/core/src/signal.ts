/**
 * What a scorer may ask the forward pass for. Signals are written into side buffers of the cache,
 * switched on per sequence, never returned as graph outputs: a new policy does not recompile.
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
  /** Mean and covariance of the queries before RoPE, per query head. */
  | { readonly kind: "queryStatistics"; readonly skip: number }
  /** All queries of the running chunk, after RoPE. */
  | { readonly kind: "chunkQueries" }
  /** Inputs of the attention blocks of the running chunk. */
  | { readonly kind: "hidden" }
  /**
   * Per slot the maximum (or sum) of attention in extra forward passes over given tokens; their own
   * entries leave the cache again. Read like `attentionSums`.
   */
  | {
      readonly kind: "replay";
      readonly reduce: "max" | "sum";
      readonly passes: (context: ReplayContext) => readonly ReplayPass[];
    }
  /** Channel-wise minimum and maximum of the keys of each block. */
  | { readonly kind: "blockBounds" }
  /** Attention output per head and the residual stream; profiling runs only. */
  | { readonly kind: "headOutputs" };

/** What a policy may build its replay passes from. */
export interface ReplayContext {
  /** Token ids of everything cached so far. */
  readonly tokenIds: Int32Array;
  /** Encodes text without special tokens. */
  readonly tokenize: (text: string) => Int32Array;
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
  /** The maximum instead of the sum, into the same side buffer as Σa. */
  maxAttention: 8,
} as const;
