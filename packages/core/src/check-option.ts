import { KvCacheError } from "./errors.ts";

/** The value, if it is one of those allowed. Throws `invalid-argument` naming the option. */
export function checkOneOf<T extends string | number | boolean>(
  name: string,
  value: T,
  allowed: readonly T[],
): T {
  if (!allowed.includes(value))
    throw new KvCacheError("invalid-argument", `${name} cannot be ${JSON.stringify(value)}.`, {
      value,
      remedy: `Use ${allowed.map((choice) => JSON.stringify(choice)).join(" or ")}.`,
    });
  return value;
}

/** The value, if it is a whole number ≥ `least`. Throws `invalid-argument` naming the option. */
export function checkWholeNumber(name: string, value: number, least: number): number {
  if (!Number.isSafeInteger(value) || value < least)
    throw new KvCacheError(
      "invalid-argument",
      `${name} must be a whole number of at least ${least}, got ${JSON.stringify(value)}.`,
      { value },
    );
  return value;
}

/** The value, if it lies in [0, 1]. Throws `invalid-argument` naming the option. */
export function checkFraction(name: string, value: number): number {
  if (!(typeof value === "number" && value >= 0 && value <= 1))
    throw new KvCacheError("invalid-argument", `${name} must be in [0, 1], got ${value}.`, {
      value,
    });
  return value;
}
