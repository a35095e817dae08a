import type { HostCache } from "./host-cache.ts";
import type { Tensor } from "./tensor.ts";

/** What a native (C++ or CUDA) implementation of a kernel is called with. */
export interface NativeCall {
  /** Cache whose memory the kernel reads or writes, if any. */
  readonly cache?: HostCache;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly integers: readonly number[];
  readonly floats: readonly number[];
}

/** How a kernel runs on WebGPU; `params` decides structure, so the source may be a function of it. */
export interface WgslKernel<P> {
  readonly source: (params: P) => string;
}

/**
 * A kernel is a value: a reference that defines the result (float64 accumulation, host memory)
 * and, where they exist, faster implementations of the same name and parameters.
 */
export interface Kernel<P> {
  readonly name: string;
  readonly reference: (params: P) => void;
  /** Present where the native library has an op of this name: maps parameters to its call. */
  readonly native?: (params: P) => NativeCall;
  readonly wgsl?: WgslKernel<P>;
}

export const defineKernel = <P>(kernel: Kernel<P>): Kernel<P> => Object.freeze(kernel);
