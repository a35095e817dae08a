import type { BlockLayout, CacheLayout } from "./layout.ts";

/** One arena of host memory. All arrays may be views over SharedArrayBuffers. */
export interface HostArena {
  readonly layout: BlockLayout;
  readonly numBlocks: number;
  /** Block b occupies bytes [b × blockBytes, (b + 1) × blockBytes): keys, then values. */
  readonly storage: Uint8Array;
  /** Original position of every slot: [numBlocks × blockSize]; slot = block × blockSize + offset. */
  readonly positions: Int32Array;
  /** Σa per slot, [numBlocks × blockSize]; written while a sequence's signal flag asks for it. */
  readonly sumAttention: Float32Array;
  /** Σa² per slot, [numBlocks × blockSize]. */
  readonly sumSquaredAttention: Float32Array;
}

/**
 * The memory of a paged cache on the host: what kernels and forward passes read and write.
 * Row r of sequence s (r = layer × numKvHeads + head) has `lengths[s × numRows + r]` tokens in the
 * blocks `blockTables[(s × numRows + r) × maxBlocksPerRow + i]`; slot j of the row is slot
 * j mod blockSize of its block ⌊j / blockSize⌋. Slots of a row are in any order of positions.
 */
export interface HostCache {
  readonly layout: CacheLayout;
  readonly maxSequences: number;
  readonly maxBlocksPerRow: number;
  readonly arenas: readonly HostArena[];
  /** Arena of each layer of each sequence: [maxSequences × numLayers]. */
  readonly arenaOfLayer: Uint8Array;
  /** [maxSequences × numRows × maxBlocksPerRow], −1 where unused. */
  readonly blockTables: Int32Array;
  /** Tokens in each row: [maxSequences × numRows]. */
  readonly lengths: Int32Array;
  /** Position that the next token of a sequence gets: [maxSequences]. */
  readonly nextPositions: Int32Array;
  /** Queries kept per layer for scoring (0 = the ring is absent). */
  readonly windowSize: number;
  /**
   * Ring of last queries after RoPE: [maxSequences, numLayers, windowSize, numQueryHeads, headDim];
   * the query of position p stands at ring row p mod windowSize.
   */
  readonly windowQueries: Float32Array;
}
