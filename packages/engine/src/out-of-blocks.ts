import { KvCacheError } from "@kvcache/core";
import { fits } from "./scheduler.ts";
import type { Sequence } from "./sequence.ts";

export const isOutOfBlocks = (error: unknown): boolean =>
  error instanceof KvCacheError && error.code === "out-of-blocks";

/** The error of a sequence that finds no blocks now. */
export const outOfBlocks = ({ tokens: { length } }: Sequence): KvCacheError =>
  new KvCacheError(
    "out-of-blocks",
    `A sequence of ${length} tokens finds no room beside what others hold.`,
    { value: length, remedy: "Try again later, or give the cache or the swap space more memory." },
  );

/**
 * The same, unless the `wanted` blocks per arena, those that it holds included, are more than the
 * cache has: `cache-size-exceeded`, for trying again is of no use.
 */
export function shortOfBlocks(
  sequence: Sequence,
  wanted: readonly number[],
  totals: readonly number[],
): KvCacheError {
  if (fits(wanted, totals)) return outOfBlocks(sequence);
  const { length } = sequence.tokens;
  return new KvCacheError(
    "cache-size-exceeded",
    `A sequence of ${length} tokens takes ${wanted} blocks, the whole cache has ${totals}.`,
    {
      value: length,
      remedy: "Give it a plan that evicts more, fewer tokens, or the cache more memory.",
    },
  );
}
