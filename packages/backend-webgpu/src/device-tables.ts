import { blocksFor, type HostCache, type SequenceSlot } from "@kvcache/core";
import { scatterWordsWgsl } from "@kvcache/kernels";
import type { CommandQueue } from "./command-queue.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

/** Block tables and lengths on the device: see core's WgslBatch. Only changes travel. */
export interface DeviceTables {
  readonly memory: GpuMemory;
  readonly lengthsAt: number;
  /** Brings the rows of these sequences up to date, after everything recorded so far. */
  sync(sequences: Iterable<SequenceSlot>): void;
  /** To be called of a sequence whose blocks changed other than by `append`. */
  changed(sequence: SequenceSlot): void;
  release(): void;
}

export function createDeviceTables(gpu: Gpu, queue: CommandQueue, host: HostCache): DeviceTables {
  const { blockTables, lengths, maxBlocksPerRow, layout, maxSequences } = host;
  const { blockSize } = layout.arenas[0]!;
  const lengthsAt = blockTables.length;
  const memory = gpu.allocate("block tables", "i32", blockTables.length + lengths.length);
  const sent = new Int32Array(blockTables.length + lengths.length);
  const rows = lengths.length / maxSequences;
  /** Sequences that were only appended to since: blocks before the last one sent are the same. */
  const grownOnly = new Set<SequenceSlot>();
  let pairs = new Int32Array(256);
  let count = 0;
  const put = (index: number, value: number) => {
    if (sent[index] === value) return;
    sent[index] = value;
    if (count === pairs.length) {
      const grown = new Int32Array(2 * count);
      grown.set(pairs);
      pairs = grown;
    }
    pairs[count++] = index;
    pairs[count++] = value;
  };

  return {
    memory,
    lengthsAt,
    sync(sequences) {
      count = 0;
      for (const sequence of sequences) {
        const isKnown = grownOnly.has(sequence);
        for (let row = sequence * rows; row < (sequence + 1) * rows; row++) {
          const table = row * maxBlocksPerRow;
          const held = blocksFor(lengths[row]!, blockSize);
          // A block that two sequences share is copied when one of them appends to it: the last one.
          const known = isKnown ? blocksFor(sent[lengthsAt + row]!, blockSize) - 1 : 0;
          put(lengthsAt + row, lengths[row]!);
          for (let i = table + Math.max(0, known); i < table + held; i++) put(i, blockTables[i]!);
        }
        grownOnly.add(sequence);
      }
      if (count === 0) return;
      const list = gpu.allocate("table changes", "i32", count);
      queue.fill(list, pairs.subarray(0, count));
      queue.dispatch(scatterWordsWgsl({ pairs: list, numPairs: count / 2, words: memory }));
      queue.releaseLater(list);
    },
    changed: (sequence) => {
      grownOnly.delete(sequence);
    },
    release: () => gpu.release(memory),
  };
}
