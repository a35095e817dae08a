/** Scores of keys by the set that they are in, kept up to date while the set changes. */
export interface KeySet {
  /** Takes in the `key`-th key of its row. */
  add(key: number): void;
  /** Gives up one that is in the set. */
  remove(key: number): void;
  /** Of one that is in the set: higher = keep. */
  score(key: number): number;
}

/** Begins with the empty set; `keys` are all of a row, f32 [length, headDim]. */
export type OpenKeySet = (keys: Float32Array, headDim: number) => KeySet;
