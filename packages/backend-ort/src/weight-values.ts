import {
  floatsToHalves,
  halvesToFloats,
  KvCacheError,
  type WeightRef,
  type WeightSource,
  type WeightTensor,
} from "@kvcache/core";

const bytesPerValue = { f32: 4, f16: 2, bf16: 2 } as const;

/** A stored matrix [rows, columns], or a vector of `rows` values, restricted to its ref's rows. */
export interface WeightRows {
  readonly rows: number;
  readonly columns: number;
  /** Values of rows [start, end) as f32 [(end − start) × columns]. */
  floats(start?: number, end?: number): Float32Array;
}

/** Opens the rows that `ref` names. Throws `invalid-model` when the stored bytes do not fit. */
export function weightRows(weights: WeightSource, ref: WeightRef): WeightRows {
  const tensor = weights.get(ref.name);
  const { shape, dtype } = tensor;
  const columns = shape.length > 1 ? shape[shape.length - 1]! : 1;
  const stored = shape.reduce((product, size) => product * size, 1) / columns;
  const first = ref.rows?.[0] ?? 0;
  const rows = (ref.rows?.[1] ?? stored) - first;
  if (tensor.data.byteLength !== stored * columns * bytesPerValue[dtype])
    throw new KvCacheError(
      "invalid-model",
      `Tensor ${ref.name} of shape [${shape}] has ${tensor.data.byteLength} bytes.`,
      { value: shape },
    );
  if (first < 0 || rows < 0 || first + rows > stored)
    throw new KvCacheError("invalid-model", `Tensor ${ref.name} has ${stored} rows.`, {
      value: ref.rows,
    });
  return {
    rows,
    columns,
    floats: (start = 0, end = rows) =>
      toFloats(tensor, (first + start) * columns, (end - start) * columns),
  };
}

/** Rounds to halves. Throws `unsupported` when a value is beyond the largest half, 65504. */
export function toHalves(values: Float32Array, name: string): Uint16Array {
  const halves = new Uint16Array(values.length);
  floatsToHalves(values, halves);
  const overflow = halves.findIndex((bits) => (bits & 0x7c00) === 0x7c00);
  if (overflow >= 0)
    throw new KvCacheError("unsupported", `Tensor ${name} has values that f16 cannot hold.`, {
      value: values[overflow],
      remedy: "Load the model with weightFormat f32.",
    });
  return halves;
}

export const bytesOf = (array: ArrayBufferView): Uint8Array =>
  new Uint8Array(array.buffer, array.byteOffset, array.byteLength);

/** Values [start, start + count) of a stored tensor, in memory of their own. */
function toFloats({ dtype, data }: WeightTensor, start: number, count: number): Float32Array {
  const size = bytesPerValue[dtype];
  const bytes = Uint8Array.from(data.subarray(start * size, (start + count) * size));
  if (dtype === "f32") return new Float32Array(bytes.buffer);
  const floats = new Float32Array(count);
  const words = new Uint16Array(bytes.buffer);
  if (dtype === "f16") halvesToFloats(words, floats);
  else {
    // A bfloat16 is the upper half of a float32.
    const bits = new Uint32Array(floats.buffer);
    for (let i = 0; i < count; i++) bits[i] = words[i]! << 16;
  }
  return floats;
}
