import { KvCacheError } from "@kvcache/core";

/** Columns that share a scale and a zero point. */
export const quantisationBlock = 32;

/** A matrix [rows, columns] as integers: weight = scale × (value − zero), rows filled up with 0. */
export interface QuantisedRows {
  /** u8 [rows, blocks, 32 × bits / 8]; of two int4, the first is the low half of a byte. */
  readonly values: Uint8Array;
  /** f32 [rows, blocks]. */
  readonly scales: Float32Array;
  /** u8 [rows, blocks]. */
  readonly zeros: Uint8Array;
}

/**
 * Round to nearest by blocks of 32 columns: [min, max], widened to contain 0, becomes 0 … 2^bits − 1,
 * so that 0 stays exact. Throws `invalid-model` on a weight that is not finite.
 */
export function quantiseRows(
  weights: Float32Array,
  columns: number,
  bits: 4 | 8,
  name: string,
): QuantisedRows {
  const rows = weights.length / columns;
  const blocks = Math.ceil(columns / quantisationBlock);
  const highest = 2 ** bits - 1;
  const perByte = 8 / bits;
  const blockBytes = quantisationBlock / perByte;
  const values = new Uint8Array(rows * blocks * blockBytes);
  const scales = new Float32Array(rows * blocks);
  const zeros = new Uint8Array(rows * blocks);
  for (let b = 0; b < rows * blocks; b++) {
    const row = Math.floor(b / blocks);
    const first = row * columns + (b % blocks) * quantisationBlock;
    const count = Math.min(quantisationBlock, (row + 1) * columns - first);
    let [low, high, finite] = [0, 0, 0];
    for (let i = first; i < first + count; i++) {
      const weight = weights[i]!;
      if (weight < low) low = weight;
      if (weight > high) high = weight;
      // 0, unless it is infinite or not a number.
      finite += weight - weight;
    }
    const range = high - low;
    if (finite !== 0)
      throw new KvCacheError("invalid-model", `Weight ${name} has values that are not finite.`, {
        value: range + finite,
      });
    const scale = range / highest;
    const inverse = scale === 0 ? 0 : 1 / scale;
    const zero = Math.round(-low * inverse);
    scales[b] = scale;
    zeros[b] = zero;
    for (let i = 0; i < quantisationBlock; i++) {
      const rounded = Math.round((i < count ? weights[first + i]! : 0) * inverse) + zero;
      const value = Math.min(highest, Math.max(0, rounded));
      values[b * blockBytes + Math.floor(i / perByte)]! |= value << (bits * (i % perByte));
    }
  }
  return { values, scales, zeros };
}
