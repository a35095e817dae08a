/** The nearest whole number; halves go to the even one. */
export function roundHalfEven(value: number): number {
  const below = Math.floor(value);
  const fraction = value - below;
  if (fraction !== 0.5) return fraction < 0.5 ? below : below + 1;
  return below % 2 === 0 ? below : below + 1;
}

export interface ShareLimits {
  /** Smallest share of each, and largest. */
  readonly least: readonly number[];
  readonly limits: readonly number[];
  /** What the shares sum to; between Σ least and Σ limits. */
  readonly sum: number;
}

/**
 * Whole numbers near `wanted` that sum to `sum` and stay within `least` and `limits`: whole parts
 * first, then one each by falling fraction (compared to 1e-9), ties to the earlier one. What is too
 * much after lifting shares to `least` is taken back from the largest.
 */
export function largestRemainder(
  wanted: readonly number[],
  { least, limits, sum }: ShareLimits,
): readonly number[] {
  const near = wanted.map((value) => Math.round(value * 1e9) / 1e9);
  const shares = near.map((value, i) =>
    Math.min(Math.max(Math.floor(value), least[i]!), limits[i]!),
  );
  const order = shares.map((_, i) => i).sort((a, b) => (near[b]! % 1) - (near[a]! % 1) || a - b);
  let left = sum - shares.reduce((total, share) => total + share, 0);
  while (left > 0)
    for (const i of order)
      if (left > 0 && shares[i]! < limits[i]!) {
        shares[i] = shares[i]! + 1;
        left--;
      }
  for (; left < 0; left++) {
    const excess = shares.map((share, i) => share - least[i]!);
    const i = excess.indexOf(Math.max(...excess));
    shares[i] = shares[i]! - 1;
  }
  return shares;
}
