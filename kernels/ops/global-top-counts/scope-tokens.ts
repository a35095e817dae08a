import { type BudgetTarget, type CacheLayout, sum, targetTokens } from "@kvcache/core";

export interface Scope {
  readonly nextPosition: number;
  readonly layout: CacheLayout;
  /** Tokens of each row, and those that it keeps in any case. */
  readonly lengths: ArrayLike<number>;
  readonly least: ArrayLike<number>;
}

/**
 * Tokens that the rows of a scope keep together. A ratio is cut to a whole number once, for all of
 * them: ⌊n × ratio × rows⌋.
 */
export function scopeTokens(
  target: BudgetTarget,
  { nextPosition, layout, lengths, least }: Scope,
): number {
  const rows = lengths.length;
  const wanted =
    "ratio" in target
      ? Math.trunc(nextPosition * target.ratio * rows)
      : targetTokens(target, nextPosition, layout) * rows;
  return Math.min(sum(lengths), Math.max(wanted, sum(least)));
}
