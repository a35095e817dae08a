import { largestRemainder } from "../../src/whole-numbers.ts";

export interface SharesOptions {
  /** What the shares sum to, as far as the limits allow. */
  readonly total: number;
  /** Smallest share, where its limit is not smaller still. */
  readonly least: number;
  readonly limits: readonly number[];
}

/**
 * Whole numbers: `least` for everybody, the rest of `total` in proportion to the weights. What is
 * above somebody's limit goes to the others in the same proportion, evenly where their weights are
 * all 0. Largest remainder, ties to the earlier one.
 */
export function cappedShares(
  weights: readonly number[],
  { total, least, limits }: SharesOptions,
): readonly number[] {
  const room = limits.reduce((sum, limit) => sum + limit, 0);
  const sum = Math.min(total, room);
  const wanted = limits.map((limit) => Math.min(least, limit));
  let open = limits.map((_, i) => i);
  while (open.length > 0) {
    const fixed = limits.reduce((all, limit, i) => (open.includes(i) ? all : all + limit), 0);
    const weight = open.reduce((all, i) => all + weights[i]!, 0);
    const rest = sum - fixed - least * open.length;
    for (const i of open)
      wanted[i] = least + rest * (weight > 0 ? weights[i]! / weight : 1 / open.length);
    const full = open.filter((i) => wanted[i]! > limits[i]!);
    for (const i of full) wanted[i] = limits[i]!;
    open = open.filter((i) => !full.includes(i));
    if (full.length === 0) break;
  }
  const lowest = limits.map((limit) => Math.min(least, limit));
  return largestRemainder(wanted, { least: lowest, limits, sum });
}
