/**
 * Subtracts the mean and divides by the standard deviation, which is that of a sample and at least
 * 1e-6, in place. Infinite entries take no part and stay.
 */
export function standardize(values: Float32Array): void {
  let count = 0;
  let total = 0;
  for (const value of values)
    if (Number.isFinite(value)) {
      count++;
      total += value;
    }
  const mean = total / count;
  let squares = 0;
  for (const value of values) if (Number.isFinite(value)) squares += (value - mean) ** 2;
  const deviation = Math.max(1e-6, Math.sqrt(squares / Math.max(1, count - 1)));
  for (let i = 0; i < values.length; i++)
    if (Number.isFinite(values[i]!)) values[i] = (values[i]! - mean) / deviation;
}
