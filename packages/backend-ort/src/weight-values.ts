import {
  floatsToHalves,
  KvCacheError,
  type WeightRef,
  type WeightSource,
  weightFloats,
} from "@kvcache/core";

/** A stored matrix [rows, columns], or a vector of `rows` values, restricted to its ref's rows. */
export interface WeightRows {
  readonly rows: number;
  readonly columns: number;
  /** Values of rows [start, end) as f32 [(end − start) × columns], in memory of their own. */
  floats(start?: number, end?: number): Float32Array;
}

/** Opens the rows that `ref` names. Throws `invalid-model` when they, or the stored bytes, do not fit. */
export function weightRows(weights: WeightSource, ref: WeightRef): WeightRows {
  const { shape, dtype, data } = weights.get(ref.name);
  const columns = shape.length > 1 ? shape[shape.length - 1]! : 1;
  const stored = shape.reduce((product, size) => product * size, 1) / columns;
  const first = ref.rows?.[0] ?? 0;
  const rows = (ref.rows?.[1] ?? stored) - first;
  if (first < 0 || rows < 0 || first + rows > stored)
    throw new KvCacheError("invalid-model", `Tensor ${ref.name} has ${stored} rows.`, {
      value: ref.rows,
    });
  return {
    rows,
    columns,
    floats(start = 0, end = rows) {
      const wanted = { name: ref.name, rows: [first + start, first + end] as const };
      const floats = weightFloats({ dtype, data, shape: [stored, columns] }, wanted);
      return dtype === "f32" ? floats.slice() : floats;
    },
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
