import { type HostCache, numRows, type SequenceSlot } from "@kvcache/core";
import type { CommandQueue } from "./command-queue.ts";
import type { DeviceMemory } from "./device-memory.ts";
import type { Gpu, ReadPart } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

/** A range of device memory and the host memory that shows it. */
interface Region {
  readonly memory: GpuMemory;
  readonly offset: number;
  readonly target: Uint8Array;
}

/** Contents of some sequences on the host, for code that runs there. */
export interface HostView {
  /** Brings the contents of these sequences to the host cache. */
  download(sequences: readonly SequenceSlot[]): Promise<void>;
  /** Sends back what changed on the host since they were downloaded. Returns the bytes sent. */
  uploadChanges(): number;
  /** Sends all contents of a sequence to the device. */
  upload(sequence: SequenceSlot): void;
}

const bytesOf = ({ buffer, byteOffset }: ArrayBufferView, start: number, bytes: number) =>
  new Uint8Array(buffer as ArrayBuffer, byteOffset + start, bytes);

export function createHostView(
  gpu: Gpu,
  queue: CommandQueue,
  host: HostCache,
  device: DeviceMemory,
): HostView {
  const rows = numRows(host.layout.shape);
  const { numLayers, numKvHeads } = host.layout.shape;
  let shown: { readonly regions: readonly Region[]; readonly bytes: Uint8Array } | undefined;

  /** Everything that sequences hold, in runs of neighbouring blocks. */
  const regionsOf = (sequences: readonly SequenceSlot[]): Region[] => {
    const regions: Region[] = [];
    host.arenas.forEach((arena, index) => {
      const { blockSize } = arena.layout;
      const { storage, side, numSlots, blockBytes } = device.arenas[index]!;
      const tables = [arena.positions, arena.sumAttention, arena.sumSquaredAttention];
      for (const [from, to] of runs(blocksOf(sequences, index))) {
        const [start, count] = [from * blockSize * 4, (to - from) * blockSize * 4];
        regions.push({
          memory: storage,
          offset: from * blockBytes,
          target: bytesOf(arena.storage, from * blockBytes, (to - from) * blockBytes),
        });
        tables.forEach((table, i) => {
          const offset = 4 * i * numSlots + start;
          regions.push({ memory: side, offset, target: bytesOf(table, start, count) });
        });
      }
    });
    if (device.ringBytes > 0)
      for (const sequence of sequences) {
        const offset = device.ringOffset(sequence);
        const target = bytesOf(host.windowQueries, offset, device.ringBytes);
        regions.push({ memory: device.windowQueries, offset, target });
      }
    return regions;
  };

  const blocksOf = (sequences: readonly SequenceSlot[], arena: number): number[] => {
    const blocks = new Set<number>();
    for (const sequence of sequences)
      for (let row = 0; row < rows; row++) {
        const layer = sequence * numLayers + Math.floor(row / numKvHeads);
        if (host.arenaOfLayer[layer] !== arena) continue;
        const index = sequence * rows + row;
        const table = index * host.maxBlocksPerRow;
        const held = Math.ceil(host.lengths[index]! / host.arenas[arena]!.layout.blockSize);
        for (let i = table; i < table + held; i++) blocks.add(host.blockTables[i]!);
      }
    return [...blocks].sort((a, b) => a - b);
  };

  return {
    async download(sequences) {
      queue.flush();
      const regions = regionsOf(sequences);
      const parts = regions.map(
        ({ memory, offset, target }): ReadPart => ({ memory, offset, bytes: target.length }),
      );
      const bytes = await gpu.read(parts);
      let at = 0;
      for (const { target } of regions) {
        target.set(bytes.subarray(at, at + target.length));
        at += target.length;
      }
      shown = { regions, bytes };
    },
    uploadChanges() {
      let sent = 0;
      let at = 0;
      for (const { memory, offset, target } of shown?.regions ?? []) {
        const before = shown!.bytes.subarray(at, at + target.length);
        if (!equal(before, target)) {
          queue.write(memory, offset, target);
          before.set(target);
          sent += target.length;
        }
        at += target.length;
      }
      return sent;
    },
    upload(sequence) {
      for (const { memory, offset, target } of regionsOf([sequence]))
        queue.write(memory, offset, target);
    },
  };
}

/** [from, to) of each run of neighbouring numbers. */
function runs(sorted: readonly number[]): [number, number][] {
  const found: [number, number][] = [];
  for (const number of sorted) {
    const last = found.at(-1);
    if (last && last[1] === number) last[1]++;
    else found.push([number, number + 1]);
  }
  return found;
}

function equal(a: Uint8Array, b: Uint8Array): boolean {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}
