import { entryBytes, type HostCache, type SequenceSlot } from "@kvcache/core";
import { compactWgsl, type QuadDtype } from "@kvcache/kernels";
import type { CacheMemory } from "@kvcache/paged";
import type { CommandQueue } from "./command-queue.ts";
import { quadDtypeOf } from "./device-layout.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

/** One arena on the device. */
export interface DeviceArena {
  readonly dtype: QuadDtype;
  readonly blockBytes: number;
  /** Keys and values as `HostArena.storage` has them. */
  readonly storage: GpuMemory;
  /** [3, numSlots]: positions, Σa, Σa². */
  readonly side: GpuMemory;
  readonly numSlots: number;
}

/** What a cache holds on the device; the host cache beside it has tables, lengths and positions. */
export interface DeviceMemory extends CacheMemory {
  readonly arenas: readonly DeviceArena[];
  readonly windowQueries: GpuMemory;
  /** Bytes of one sequence's ring of queries. */
  readonly ringBytes: number;
  ringOffset(sequence: SequenceSlot): number;
  release(): void;
}

export function createDeviceMemory(gpu: Gpu, queue: CommandQueue, host: HostCache): DeviceMemory {
  const arenas = host.arenas.map(({ layout, numBlocks, storage }, i): DeviceArena => {
    const numSlots = numBlocks * layout.blockSize;
    return {
      dtype: quadDtypeOf(layout),
      blockBytes: storage.byteLength / numBlocks,
      storage: gpu.allocate(`blocks of arena ${i}`, "u32", storage.byteLength / 4),
      side: gpu.allocate(`positions and sums of arena ${i}`, "u32", 3 * numSlots),
      numSlots,
    };
  });
  const windowQueries = gpu.allocate("window queries", "f32", host.windowQueries.length);
  const ringBytes = host.windowQueries.byteLength / host.maxSequences;
  const ringOffset = (sequence: SequenceSlot) => sequence * ringBytes;

  /** WebGPU copies within a buffer only where source and target are apart: through other memory. */
  const copyWithin = (memory: GpuMemory, from: number, to: number, bytes: number) => {
    if (bytes === 0) return;
    const between = gpu.allocate("copy", "u32", bytes / 4);
    queue.copy(memory, from, between, 0, bytes);
    queue.copy(between, 0, memory, to, bytes);
    queue.releaseLater(between);
  };

  return {
    arenas,
    windowQueries,
    ringBytes,
    ringOffset,
    copyBlock(index, from, to) {
      const { storage, side, numSlots, blockBytes } = arenas[index]!;
      const { layout, positions } = host.arenas[index]!;
      const { blockSize } = layout;
      positions.copyWithin(to * blockSize, from * blockSize, (from + 1) * blockSize);
      copyWithin(storage, from * blockBytes, to * blockBytes, blockBytes);
      for (let table = 0; table < 3; table++) {
        const start = table * numSlots;
        copyWithin(
          side,
          4 * (start + from * blockSize),
          4 * (start + to * blockSize),
          4 * blockSize,
        );
      }
    },
    move(index, moves) {
      if (moves.length === 0) return;
      const { storage, side, numSlots } = arenas[index]!;
      const { layout, positions } = host.arenas[index]!;
      for (let i = 0; i < moves.length; i += 2) positions[moves[i + 1]!] = positions[moves[i]!]!;
      const list = gpu.allocate("moves", "i32", moves.length);
      queue.fill(list, moves);
      queue.dispatch(
        compactWgsl({
          entryWords: entryBytes(layout.key) / 4,
          blockSize: layout.blockSize,
          numSlots,
          moves: list,
          numMoves: moves.length / 2,
          storage,
          side,
        }),
      );
      queue.releaseLater(list);
    },
    copyQueries: (from, to) =>
      copyWithin(windowQueries, ringOffset(from), ringOffset(to), ringBytes),
    saveQueries(sequence) {
      const saved = gpu.allocate("saved queries", "f32", ringBytes / 4);
      if (ringBytes > 0) queue.copy(windowQueries, ringOffset(sequence), saved, 0, ringBytes);
      return {
        byteLength: ringBytes,
        restore: (target) => {
          if (ringBytes > 0) queue.copy(saved, 0, windowQueries, ringOffset(target), ringBytes);
        },
        release: () => queue.releaseLater(saved),
      };
    },
    release() {
      for (const { storage, side } of arenas) {
        gpu.release(storage);
        gpu.release(side);
      }
      gpu.release(windowQueries);
    },
  };
}
