import type { KeySet } from "../select-blockwise/key-set.ts";

/**
 * Minus the cosine between a key and the mean direction of a set of keys that changes; see `keyDiff`.
 * `keys` f32 [length, headDim].
 */
export function keyDiffSet(keys: Float32Array, headDim: number): KeySet {
  const units = new Float64Array(keys);
  for (let at = 0; at < units.length; at += headDim) {
    let squares = 0;
    for (let c = at; c < at + headDim; c++) squares += units[c]! * units[c]!;
    const inverse = squares > 0 ? 1 / Math.sqrt(squares) : 0;
    for (let c = at; c < at + headDim; c++) units[c]! *= inverse;
  }
  const sum = new Float64Array(headDim);
  let inverseLength: number | undefined;
  const change = (key: number, sign: 1 | -1): void => {
    const at = key * headDim;
    for (let c = 0; c < headDim; c++) sum[c]! += sign * units[at + c]!;
    inverseLength = undefined;
  };
  return {
    add: (key) => change(key, 1),
    remove: (key) => change(key, -1),
    score(key) {
      // The cosine does not depend on the mean's length.
      inverseLength ??= 1 / (Math.hypot(...sum) || 1);
      const at = key * headDim;
      let dot = 0;
      for (let c = 0; c < headDim; c++) dot += units[at + c]! * sum[c]!;
      return -dot * inverseLength;
    },
  };
}
