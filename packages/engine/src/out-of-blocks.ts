import { KvCacheError } from "@kvcache/core";
import type { Sequence } from "./sequence.ts";

export const isOutOfBlocks = (error: unknown): boolean =>
  error instanceof KvCacheError && error.code === "out-of-blocks";

/** The error of a sequence that does not fit even when it has the cache to itself. */
export const tooLargeForCache = (sequence: Sequence, totals: readonly number[]): KvCacheError =>
  new KvCacheError(
    "out-of-blocks",
    `A sequence of ${sequence.tokens.length} tokens does not fit a cache of ${totals} blocks.`,
    {
      value: sequence.tokens.length,
      remedy: "Give it a plan that evicts more, fewer tokens, or the cache more memory.",
    },
  );
