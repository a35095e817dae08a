import type { Tensor, TensorDtype } from "@kvcache/core";

// The numbers of the WebGPU specification: its global objects do not exist in Node.
export const usage = {
  mapRead: 0x1,
  copySrc: 0x4,
  copyDst: 0x8,
  uniform: 0x40,
  storage: 0x80,
} as const;
export const mapRead = 0x1;
export const computeStage = 0x4;

/**
 * Memory on the device that dispatches can bind. It is a tensor of words whose dtype only tells how
 * a host would read it; bindings name their own type.
 */
export interface GpuMemory extends Tensor {
  /** Names the memory in keys of bind groups; never used twice. */
  readonly id: number;
  readonly buffer: GPUBuffer;
  readonly dtype: TensorDtype;
  readonly bytes: number;
}

export const isGpuMemory = (tensor: Tensor): tensor is GpuMemory =>
  (tensor as Partial<GpuMemory>).buffer !== undefined;
