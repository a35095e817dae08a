import { KvCacheError } from "@kvcache/core";

export interface VectorTensor {
  readonly shape: readonly number[];
  readonly data: Float32Array | Int32Array;
}

/** Reads the F32 and I32 tensors of a safetensors file. Throws `invalid-file` when it is malformed. */
export function readSafetensors(bytes: Uint8Array, path: string): Map<string, VectorTensor> {
  const malformed = (what: string, cause?: unknown): never => {
    throw new KvCacheError("invalid-file", `The tensor file of ${path} is malformed: ${what}.`, {
      cause,
    });
  };
  if (bytes.length < 8) malformed("it has no header");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const headerBytes = Number(view.getBigUint64(0, true));
  const start = 8 + headerBytes;
  if (start > bytes.length) malformed("its header is longer than the file");
  const tensors = new Map<string, VectorTensor>();
  let header: Record<string, { dtype: string; shape: number[]; data_offsets: [number, number] }> =
    {};
  try {
    header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, start)));
  } catch (cause) {
    malformed("its header is not JSON", cause);
  }
  for (const [name, { dtype, shape, data_offsets: offsets }] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const numbers = shape.reduce((product, size) => product * size, 1);
    const [from, to] = [start + offsets[0], start + offsets[1]];
    if (dtype !== "F32" && dtype !== "I32") malformed(`${name} is ${dtype}, not F32 or I32`);
    if (to - from !== 4 * numbers || to > bytes.length) malformed(`${name} has wrong offsets`);
    const copy = Uint8Array.from(bytes.subarray(from, to)).buffer;
    tensors.set(name, {
      shape,
      data: dtype === "F32" ? new Float32Array(copy) : new Int32Array(copy),
    });
  }
  return tensors;
}
