import { KvCacheError } from "@kvcache/core";

/** What a collector has gathered, to be stored and taken up again: exact, so nothing is rounded. */
export type CollectorState = Readonly<Record<string, Float32Array | Float64Array>>;

/** Fills an array from a stored one. Throws where the sizes differ: the model is another one. */
export function restoreInto(
  into: Float32Array | Float64Array,
  state: CollectorState,
  name: string,
): void {
  const stored = state[name];
  if (stored?.length !== into.length)
    throw new KvCacheError(
      "invalid-file",
      `Stored ${name} hold ${stored?.length ?? "no"} numbers, ${into.length} belong there.`,
      { value: stored?.length, remedy: "Begin anew: it was stored for another model." },
    );
  into.set(stored);
}
