import { checkWholeNumber, KvCacheError, type Selector } from "@kvcache/core";
import { selectChunks, selectShares } from "@kvcache/kernels";
import { recordRows } from "./record-rows.ts";

export interface ChunkOptions {
  /** Positions of a chunk. */
  readonly chunk: number;
}

export interface WholeChunkOptions extends ChunkOptions {
  /** Protected tokens come first, whatever their chunk, if the budget has room. Default true. */
  readonly keepProtected?: boolean;
}

export interface GatedChunkOptions extends WholeChunkOptions {
  /** Tokens that a good chunk keeps whose score comes from few of them. */
  readonly lowEntropyTokens: number;
}

/**
 * Keeps whole chunks of neighbouring tokens, the best first, the same in every head of a layer, up
 * to each row's budget: the last one is cut to its best tokens. A prompt shorter than one chunk
 * keeps each row's best tokens. Throws `invalid-argument` naming the option that is out of range.
 */
export function wholeChunks({ chunk, keepProtected = true }: WholeChunkOptions): Selector {
  checkWholeNumber("chunk", chunk, 1);
  return Object.freeze<Selector>({
    name: "whole-chunks",
    select: (encoder, batch, scores, counts) =>
      recordRows(encoder, batch, counts, (keep) =>
        encoder.run(selectChunks, { batch, scores, counts, chunk, keepProtected, ...keep }),
      ),
  });
}

/**
 * Whole chunks, but one that scores at least the median and spreads its score less evenly than the
 * median chunk keeps its best tokens only; what that saves goes on.
 */
export function entropyGatedChunks({
  chunk,
  lowEntropyTokens,
  keepProtected = true,
}: GatedChunkOptions): Selector {
  checkWholeNumber("chunk", chunk, 2);
  if (checkWholeNumber("lowEntropyTokens", lowEntropyTokens, 1) >= chunk)
    throw new KvCacheError(
      "invalid-argument",
      `lowEntropyTokens must be below chunk, ${chunk}, got ${lowEntropyTokens}.`,
      { value: lowEntropyTokens },
    );
  return Object.freeze<Selector>({
    name: "entropy-gated-chunks",
    select: (encoder, batch, scores, counts) =>
      recordRows(encoder, batch, counts, (keep) =>
        encoder.run(selectChunks, {
          batch,
          scores,
          counts,
          chunk,
          lowEntropyTokens,
          keepProtected,
          ...keep,
        }),
      ),
  });
}

/** Keeps the same fraction of every chunk of a row, its best tokens. */
export function chunkShares({ chunk }: ChunkOptions): Selector {
  checkWholeNumber("chunk", chunk, 1);
  return Object.freeze<Selector>({
    name: "chunk-shares",
    select: (encoder, batch, scores, counts) =>
      recordRows(encoder, batch, counts, (keep) =>
        encoder.run(selectShares, { batch, scores, counts, chunk, ...keep }),
      ),
  });
}
