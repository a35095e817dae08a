import {
  type Encoder,
  hostArray,
  hostTensor,
  type Kernel,
  KvCacheError,
  type Tensor,
  type TensorDtype,
} from "@kvcache/core";

const arrayOf = { f32: Float32Array, u32: Uint32Array, i32: Int32Array } as const;

export interface HostEncoderOptions {
  /** Told the name of each kernel that ran. */
  readonly onRun?: (name: string) => void;
}

/** An encoder over host memory: it runs each kernel's reference while it is recorded. */
export function createHostEncoder({ onRun }: HostEncoderOptions = {}): Encoder {
  return {
    tensor(dtype: TensorDtype, length: number): Tensor {
      if (!Number.isSafeInteger(length) || length < 0)
        throw new KvCacheError(
          "invalid-argument",
          `A tensor's length must be a non-negative integer, got ${length}.`,
          { value: length },
        );
      return hostTensor(new arrayOf[dtype](length));
    },
    upload: hostTensor,
    run<P>(kernel: Kernel<P>, params: P): void {
      kernel.reference(params);
      onRun?.(kernel.name);
    },
    submit: async () => {},
    read: async (tensor) => hostArray(tensor, tensor.dtype).slice(),
  };
}
