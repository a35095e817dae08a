import { KvCacheError } from "@kvcache/core";

/** Smoothing along the tokens of a row: stride 1, same length. `size` is odd. */
export interface Pooling {
  readonly kind: "avg" | "max";
  readonly size: number;
}

/** Throws `invalid-argument` unless the size is odd and positive. */
export function checkPooling(pooling: Pooling): Pooling {
  if (!(Number.isInteger(pooling.size) && pooling.size > 0 && pooling.size % 2 === 1))
    throw new KvCacheError(
      "invalid-argument",
      `pooling.size must be odd and positive, got ${pooling.size}.`,
      { value: pooling, remedy: "Use 5 or 7, so that every token is the middle of its window." },
    );
  return pooling;
}

/**
 * Pools values[0 … count) in place. The average divides by `size` also at the ends, where fewer
 * neighbours exist; the maximum ignores what lies outside.
 */
export function pool(values: Float64Array, count: number, { kind, size }: Pooling): void {
  const reach = (size - 1) / 2;
  const source = values.slice(0, count);
  for (let j = 0; j < count; j++) {
    const end = Math.min(count - 1, j + reach);
    let result = kind === "avg" ? 0 : Number.NEGATIVE_INFINITY;
    for (let i = Math.max(0, j - reach); i <= end; i++)
      result = kind === "avg" ? result + source[i]! : Math.max(result, source[i]!);
    values[j] = kind === "avg" ? result / size : result;
  }
}
