import type { Kernel } from "./kernel.ts";
import type { Tensor, TensorArray, TensorDtype } from "./tensor.ts";

/**
 * Records work for one compression event: recording is synchronous, `submit` is not. A host
 * backend may run kernels while they are recorded; a device backend runs them after `submit`.
 * Tensors live until the encoder is submitted and its results were read.
 */
export interface Encoder {
  /** Allocates zeroed scratch memory. */
  tensor(dtype: TensorDtype, length: number): Tensor;
  /** Makes host data available to kernels; the data must not change before `submit` resolves. */
  upload(data: TensorArray): Tensor;
  /** Records one kernel. Without an implementation for this backend its reference runs on the host. */
  run<P>(kernel: Kernel<P>, params: P): void;
  /** Waits for everything recorded so far. */
  submit(): Promise<void>;
  /** Submits, then copies a tensor to the host. */
  read(tensor: Tensor): Promise<TensorArray>;
}
