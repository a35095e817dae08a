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
  /** Per slot maximum attention in an extra forward pass over `replay` tokens with a read-only cache. */
  | { readonly kind: "replay"; readonly reduce: "max" | "sum" }
  /** Channel-wise minimum and maximum of the keys of each block. */
  | { readonly kind: "blockBounds" }
  /** Attention output per head and the residual stream; profiling runs only. */
  | { readonly kind: "headOutputs" };

export type SignalKind = Signal["kind"];

/** Bits of the per-sequence `signalFlags` of a step. */
export const signalFlag = {
  windowQueries: 1,
  sumAttention: 2,
  sumSquaredAttention: 4,
} as const;
