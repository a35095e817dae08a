import type { TensorDtype } from "@kvcache/core";
import type { CommandQueue } from "./command-queue.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

/** Memory by name that grows when a pass needs more; contents do not survive the growth. */
export interface Scratch {
  get(name: string, dtype: TensorDtype, words: number): GpuMemory;
  /** Another number once a memory has been replaced by a larger one. */
  readonly version: number;
  release(): void;
}

export function createScratch(gpu: Gpu, queue: CommandQueue): Scratch {
  const memories = new Map<string, GpuMemory>();
  let version = 0;
  return {
    get(name, dtype, words) {
      const known = memories.get(name);
      if (known && known.length >= words) return known;
      if (known) {
        queue.releaseLater(known);
        version++;
      }
      // Half as much again where it has grown once, so that growth by a token a step is rare.
      const memory = gpu.allocate(name, dtype, known ? Math.ceil(words * 1.5) : words);
      memories.set(name, memory);
      return memory;
    },
    get version() {
      return version;
    },
    release() {
      for (const memory of memories.values()) queue.releaseLater(memory);
      memories.clear();
    },
  };
}
