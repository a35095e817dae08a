import { KvCacheError } from "./errors.ts";
import type { WeightRef } from "./graph.ts";
import { halvesToFloats } from "./half.ts";

export type WeightDtype = "f32" | "f16" | "bf16";

/** A stored tensor: row-major, little-endian, not yet converted. */
export interface WeightTensor {
  readonly dtype: WeightDtype;
  readonly shape: readonly number[];
  readonly data: Uint8Array;
}

/** Where a backend takes a model's weights from. */
export interface WeightSource {
  has(name: string): boolean;
  /** Throws `invalid-model` naming tensor and file when it is missing or malformed. */
  get(name: string): WeightTensor;
}

/** How a backend stores weights: integers by block-wise quantisation (block 32). */
export type WeightFormat = "f32" | "f16" | "int8" | "int4";

const bytesOf = { f32: 4, f16: 2, bf16: 2 } as const;

/**
 * The rows of a stored tensor that a reference names, as f32 [rows, …]: a view where they are stored
 * so and aligned. Throws `invalid-model` when the stored bytes do not fit.
 */
export function weightFloats(
  { dtype, shape, data }: WeightTensor,
  { name, rows }: WeightRef,
): Float32Array {
  const size = bytesOf[dtype];
  const numRows = shape[0] ?? 1;
  const rowLength = shape.slice(1).reduce((a, b) => a * b, 1);
  const [start, end] = rows ?? [0, numRows];
  if (!(start >= 0 && start <= end && end <= numRows) || data.length !== numRows * rowLength * size)
    throw new KvCacheError(
      "invalid-model",
      `Weight ${name} of shape [${shape}] in ${data.length} bytes has no rows ${start} … ${end}.`,
      { value: { shape, rows, bytes: data.length } },
    );
  let bytes = data.subarray(start * rowLength * size, end * rowLength * size);
  if (bytes.byteOffset % size !== 0) bytes = bytes.slice();
  const length = (end - start) * rowLength;
  if (dtype === "f32") return new Float32Array(bytes.buffer, bytes.byteOffset, length);
  const halves = new Uint16Array(bytes.buffer, bytes.byteOffset, length);
  const floats = new Float32Array(length);
  if (dtype === "f16") {
    halvesToFloats(halves, floats);
    return floats;
  }
  // bfloat16 is the upper half of a float32.
  const words = new Uint32Array(floats.buffer);
  for (let i = 0; i < length; i++) words[i] = halves[i]! << 16;
  return floats;
}
