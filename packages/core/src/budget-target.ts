import { KvCacheError } from "./errors.ts";
import { type CacheLayout, sequenceTokenBytes } from "./layout.ts";

/** How much a compression keeps. `ratio` is the fraction kept, in (0, 1]. */
export type BudgetTarget =
  | { readonly tokens: number }
  | { readonly ratio: number }
  | { readonly bytes: number };

/** Throws `invalid-argument` unless the target has exactly one positive number (ratio ≤ 1). */
export function checkTarget(target: BudgetTarget): BudgetTarget {
  const keys = Object.keys(target);
  const key = keys[0] as "tokens" | "ratio" | "bytes";
  if (keys.length !== 1 || !["tokens", "ratio", "bytes"].includes(key))
    throw new KvCacheError(
      "invalid-argument",
      `A budget is one of tokens, ratio or bytes, got ${JSON.stringify(target)}.`,
      {
        value: target,
        remedy: "Write for example { ratio: 0.25 } to keep a quarter.",
      },
    );
  const value = (target as Record<string, number>)[key]!;
  if (key === "ratio" && !(value > 0 && value <= 1))
    throw new KvCacheError(
      "invalid-argument",
      `budget.ratio is the fraction kept and must be in (0, 1], got ${value}.`,
      {
        value,
        remedy: "Use 0.25 to keep a quarter of the cache.",
      },
    );
  if (key !== "ratio" && !(Number.isSafeInteger(value) && value > 0))
    throw new KvCacheError(
      "invalid-argument",
      `budget.${key} must be a positive integer, got ${value}.`,
      { value },
    );
  return target;
}

/** Tokens kept of n by a ratio: max(1, trunc(n × ratio)) in float64 (kvpress' rule). */
export const tokensForRatio = (n: number, ratio: number): number =>
  Math.max(1, Math.trunc(n * ratio));

/**
 * Tokens per row that a target stands for: a ratio is a fraction of the sequence's true length
 * (`nextPosition`), so that compressing twice does not square it; bytes are shared evenly by all
 * rows (0 when they do not pay for one token of each).
 */
export function targetTokens(
  target: BudgetTarget,
  nextPosition: number,
  layout: CacheLayout,
): number {
  if ("tokens" in target) return target.tokens;
  if ("ratio" in target) return tokensForRatio(nextPosition, target.ratio);
  return Math.floor(target.bytes / sequenceTokenBytes(layout));
}
