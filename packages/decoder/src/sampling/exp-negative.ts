/** Steps of the table between two powers of two. */
const steps = 256;
const perUnit = steps / Math.LN2;
const unit = Math.LN2 / steps;
/** Below, results are not normal numbers any more. */
const lowest = -708;

/** 2^(i / steps). */
const fractions = Float64Array.from({ length: steps }, (_, i) => 2 ** (i / steps));
/** 2^(−i). */
const powers = Float64Array.from({ length: 1024 }, (_, i) => 2 ** -i);

/**
 * exp(x) for x ≤ 0 with a relative error below 2 × 10⁻¹³, cheaper than Math.exp: a step of a table
 * times the first terms of the series for what is left.
 */
export function expNegative(x: number): number {
  if (!(x > lowest)) return Math.exp(x);
  const step = Math.floor(x * perUnit);
  const rest = x - step * unit;
  const series = 1 + rest * (1 + rest * (0.5 + rest * (1 / 6 + rest * (1 / 24))));
  return fractions[step & (steps - 1)]! * powers[-(step >> 8)]! * series;
}
