import type { WgslDispatch } from "@kvcache/core";
import { findAdapter } from "./adapter.ts";
import { type CommandQueue, createCommandQueue } from "./command-queue.ts";
import { type Gpu, openGpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";
import { detectTier } from "./tier.ts";

/** A device for tests of single kernels. */
export async function testGpu() {
  const adapter = await findAdapter({});
  const gpu: Gpu = await openGpu(adapter, detectTier(adapter.features));
  const queue: CommandQueue = createCommandQueue(gpu);
  const put = (data: Float32Array | Int32Array | Uint32Array): GpuMemory => {
    const memory = gpu.allocate("test", "f32", data.length);
    queue.write(memory, 0, data);
    return memory;
  };
  const room = (words: number) => gpu.allocate("test", "f32", words);
  /** Runs dispatches and reads memory as floats. */
  const run = async (dispatches: readonly WgslDispatch[], out: GpuMemory, words = out.length) => {
    for (const dispatch of dispatches) queue.dispatch(dispatch);
    queue.flush();
    const bytes = await gpu.read([{ memory: out, offset: 0, bytes: words * 4 }]);
    return new Float32Array(bytes.buffer, 0, words);
  };
  return { gpu, queue, put, room, run };
}

/** Largest difference, relative to the larger of 1 and the expected number; NaN counts as infinite. */
export function worst(got: ArrayLike<number>, expected: ArrayLike<number>): number {
  let most = got.length === expected.length ? 0 : Number.POSITIVE_INFINITY;
  for (let i = 0; i < expected.length; i++) {
    const difference = Math.abs(got[i]! - expected[i]!) / Math.max(1, Math.abs(expected[i]!));
    most = Math.max(most, Number.isNaN(difference) ? Number.POSITIVE_INFINITY : difference);
  }
  return most;
}

/** Numbers in [−1, 1) that every run makes alike. */
export function numbers(count: number, seed = 1): Float32Array {
  let state = seed * 2654435761;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}
