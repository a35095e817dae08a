import { KvCacheError } from "./errors.ts";

export type TensorDtype = "f32" | "u32" | "i32";
export type TensorArray = Float32Array | Uint32Array | Int32Array;

/**
 * A handle to flat memory that an {@link Encoder} allocated. On a device it is opaque; on a host
 * backend `data` is the memory itself and {@link hostArray} reads it.
 */
export interface Tensor {
  readonly dtype: TensorDtype;
  /** Number of elements. */
  readonly length: number;
}

/** A tensor of a host backend: `data` may be a view over a SharedArrayBuffer. */
export interface HostTensor extends Tensor {
  readonly data: TensorArray;
}

/** Wraps an array as a host tensor without copying it. */
export function hostTensor(data: TensorArray): HostTensor {
  const dtype = data instanceof Float32Array ? "f32" : data instanceof Uint32Array ? "u32" : "i32";
  return { dtype, length: data.length, data };
}

interface ArrayOf {
  f32: Float32Array;
  u32: Uint32Array;
  i32: Int32Array;
}

/** The memory of a host tensor. Throws `unsupported` on a device tensor or another dtype. */
export function hostArray<D extends TensorDtype>(tensor: Tensor, dtype: D): ArrayOf[D] {
  const data = (tensor as Partial<HostTensor>).data;
  if (data === undefined)
    throw new KvCacheError("unsupported", "This tensor lives on a device and has no host memory.", {
      remedy: "Read it with encoder.read(tensor).",
    });
  if (tensor.dtype !== dtype)
    throw new KvCacheError("internal", `Expected a ${dtype} tensor, got ${tensor.dtype}.`);
  return data as ArrayOf[D];
}
