import {
  type Encoder,
  hostArray,
  hostTensor,
  type Kernel,
  KvCacheError,
  type TensorArray,
  type TensorDtype,
} from "@kvcache/core";

const arrayOf = { f32: Float32Array, u32: Uint32Array, i32: Int32Array } as const;

/** A kernel and its parameters, as recorded. */
export type RecordedCall = { readonly kernel: Kernel<unknown>; readonly params: unknown };

/**
 * An encoder over host memory that records and hands everything over at `submit`. Work that was
 * recorded before a failure is given up: `submit` rejects, and the encoder starts anew.
 */
export function createRecordingEncoder(
  execute: (calls: readonly RecordedCall[]) => Promise<void>,
): Encoder {
  let calls: RecordedCall[] = [];
  const submit = () => {
    const recorded = calls;
    calls = [];
    return execute(recorded);
  };
  return {
    tensor(dtype: TensorDtype, length: number) {
      if (!Number.isSafeInteger(length) || length < 0)
        throw new KvCacheError(
          "invalid-argument",
          `A tensor's length must be a non-negative integer, got ${length}.`,
          { value: length },
        );
      return hostTensor(new arrayOf[dtype](length));
    },
    upload: (data: TensorArray) => hostTensor(data),
    run<P>(kernel: Kernel<P>, params: P) {
      calls.push({ kernel: kernel as Kernel<unknown>, params });
    },
    submit,
    async read(tensor) {
      await submit();
      return hostArray(tensor, tensor.dtype).slice();
    },
  };
}
