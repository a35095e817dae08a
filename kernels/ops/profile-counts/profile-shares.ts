import { largestRemainder, roundHalfEven } from "../../src/whole-numbers.ts";

/** How importance becomes tokens. */
export type ShareFamily =
  /** In proportion to importance to a power; 0 shares evenly. */
  | { readonly kind: "power"; readonly exponent: number }
  /** The least and the most important rows get a fixed multiple of an even share. */
  | {
      readonly kind: "tiers";
      readonly lowFraction: number;
      readonly highFraction: number;
      readonly lowFactor: number;
      readonly highFactor: number;
    };

export interface ProfileSharesOptions {
  readonly family: ShareFamily;
  /** Tokens of all rows together. */
  readonly total: number;
  /** Tokens that every row gets at least, where it has as many. */
  readonly least: readonly number[];
  readonly limits: readonly number[];
}

/** Whole tokens per row that sum to the total, from the importance of each. */
export function profileShares(
  importance: readonly number[],
  { family, total, least, limits }: ProfileSharesOptions,
): readonly number[] {
  const lowest = least.map((tokens, row) => Math.min(tokens, limits[row]!));
  const room = limits.reduce((sum, limit) => sum + limit, 0);
  const floor = lowest.reduce((sum, tokens) => sum + tokens, 0);
  const sum = Math.max(floor, Math.min(room, roundHalfEven(total)));
  const wanted =
    family.kind === "power"
      ? powerShares(importance, family.exponent, sum, lowest, limits)
      : tierShares(importance, family, sum, lowest, limits);
  return largestRemainder(wanted, { least: lowest, limits, sum });
}

/** A floor for every row, the rest by importance; what passes a limit goes on in that proportion. */
function powerShares(
  importance: readonly number[],
  exponent: number,
  total: number,
  least: readonly number[],
  limits: readonly number[],
): readonly number[] {
  const weights = importance.map((value) => value ** exponent);
  return clampedShares(weights, total, least, limits, least);
}

function tierShares(
  importance: readonly number[],
  { lowFraction, highFraction, lowFactor, highFactor }: ShareFamily & { kind: "tiers" },
  total: number,
  least: readonly number[],
  limits: readonly number[],
): readonly number[] {
  const rows = importance.length;
  const rising = importance.map((_, row) => row);
  rising.sort((a, b) => importance[a]! - importance[b]! || a - b);
  const low = Math.trunc(lowFraction * rows);
  const high = Math.min(rows - low, Math.trunc(highFraction * rows));
  const even = total / rows;
  const middle =
    (total - low * lowFactor * even - high * highFactor * even) / Math.max(1, rows - low - high);
  const shares = new Array<number>(rows);
  rising.forEach((row, rank) => {
    shares[row] =
      rank < low ? lowFactor * even : rank >= rows - high ? highFactor * even : Math.max(0, middle);
  });
  return clampedShares(
    shares,
    total,
    least,
    limits,
    rising.map(() => 0),
  );
}

/**
 * base + a part of what is left in proportion to the weights, kept within least … limits: rows that
 * leave that range are set to its end, one side after the other, and the others share again.
 */
function clampedShares(
  weights: readonly number[],
  total: number,
  least: readonly number[],
  limits: readonly number[],
  base: readonly number[],
): readonly number[] {
  const shares = [...base];
  const open = new Set(shares.keys());
  while (open.size > 0) {
    let rest = total;
    let weight = 0;
    shares.forEach((share, row) => {
      rest -= open.has(row) ? base[row]! : share;
      if (open.has(row)) weight += weights[row]!;
    });
    for (const row of open)
      shares[row] = base[row]! + rest * (weight > 0 ? weights[row]! / weight : 1 / open.size);
    const above = [...open].filter((row) => shares[row]! > limits[row]!);
    const outside =
      above.length > 0 ? above : [...open].filter((row) => shares[row]! < least[row]!);
    for (const row of outside) {
      shares[row] = above.length > 0 ? limits[row]! : least[row]!;
      open.delete(row);
    }
    if (outside.length === 0) break;
  }
  return shares;
}
