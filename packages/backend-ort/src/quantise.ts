import { quantisationBlock, quantiseRows as quantiseBlocks } from "@kvcache/kernels";

export { quantisationBlock };

/** A matrix [rows, columns] in the layout of onnxruntime's MatMulNBits (B, scales, zero_points). */
export interface QuantisedRows {
  /** u8 [rows, blocks per row, 32 × bits / 8]; of two int4, the first is the low half of a byte. */
  readonly values: Uint8Array;
  /** f32 [rows × blocks per row]. */
  readonly scales: Float32Array;
  /** u8 [rows × ⌈blocks per row × bits / 8⌉], packed like `values`; rows start at a byte. */
  readonly zeroPoints: Uint8Array;
}

/**
 * `quantiseRows` of @kvcache/kernels, whose zero points, a byte each, are packed as onnxruntime
 * reads them. Throws `invalid-model` on a weight that is not finite.
 */
export function quantiseRows(
  weights: Float32Array,
  columns: number,
  bits: 4 | 8,
  name: string,
): QuantisedRows {
  const { values, scales, zeros } = quantiseBlocks(weights, columns, bits, name);
  if (bits === 8) return { values, scales, zeroPoints: zeros };
  const blocks = Math.ceil(columns / quantisationBlock);
  const bytesPerRow = Math.ceil(blocks / 2);
  const zeroPoints = new Uint8Array((zeros.length / blocks) * bytesPerRow);
  zeros.forEach((zero, i) => {
    const block = i % blocks;
    zeroPoints[Math.floor(i / blocks) * bytesPerRow + (block >> 1)]! |= zero << (4 * (block & 1));
  });
  return { values, scales, zeroPoints };
}
