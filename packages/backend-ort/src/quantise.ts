import { KvCacheError } from "@kvcache/core";

/** Columns that share a scale. */
export const quantisationBlock = 32;

/** A matrix [rows, columns] in the layout of onnxruntime's MatMulNBits (B, scales, zero_points). */
export interface QuantisedRows {
  /** u8 [rows, blocks per row, 32 × bits / 8]; of two int4, the first is the low half of a byte. */
  readonly values: Uint8Array;
  /** f32 [rows × blocks per row]. */
  readonly scales: Float32Array;
  /** u8 [rows × ⌈blocks per row × bits / 8⌉], packed like `values`. */
  readonly zeroPoints: Uint8Array;
}

/**
 * Round to nearest, block-wise: each block of 32 columns maps [min, max], widened to contain 0, to
 * 0 … 2^bits − 1 with a zero point, so that 0 stays exact. Weight ≈ scale × (value − zeroPoint).
 */
export function quantiseRows(
  weights: Float32Array,
  columns: number,
  bits: 4 | 8,
  name: string,
): QuantisedRows {
  const rows = weights.length / columns;
  const blocks = Math.ceil(columns / quantisationBlock);
  const levels = 2 ** bits - 1;
  const perByte = 8 / bits;
  const blockBytes = quantisationBlock / perByte;
  const zeroBytes = Math.ceil(blocks / perByte);
  const values = new Uint8Array(rows * blocks * blockBytes);
  const scales = new Float32Array(rows * blocks);
  const zeroPoints = new Uint8Array(rows * zeroBytes);

  for (let row = 0; row < rows; row++)
    for (let block = 0; block < blocks; block++) {
      const first = row * columns + block * quantisationBlock;
      const last = Math.min(first + quantisationBlock, (row + 1) * columns);
      let min = 0;
      let max = 0;
      for (let i = first; i < last; i++) {
        const weight = weights[i]!;
        if (weight < min) min = weight;
        else if (weight > max) max = weight;
        else if (Number.isNaN(weight)) throw notFinite(name, weight);
      }
      if (max - min === Number.POSITIVE_INFINITY) throw notFinite(name, max - min);
      const scale = (max - min) / levels;
      const inverse = scale === 0 ? 0 : 1 / scale;
      const zero = Math.round(-min * inverse);
      scales[row * blocks + block] = scale;
      zeroPoints[row * zeroBytes + Math.floor(block / perByte)]! |=
        zero << (bits * (block % perByte));
      const at = (row * blocks + block) * blockBytes;
      for (let i = 0; i < quantisationBlock; i++) {
        const weight = first + i < last ? weights[first + i]! : 0;
        const value = Math.min(levels, Math.max(0, Math.round(weight * inverse) + zero));
        values[at + Math.floor(i / perByte)]! |= value << (bits * (i % perByte));
      }
    }
  return { values, scales, zeroPoints };
}

const notFinite = (name: string, value: number) =>
  new KvCacheError("invalid-model", `Tensor ${name} has values that are not finite.`, { value });
