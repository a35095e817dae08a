import {
  type KvBatch,
  KvCacheError,
  type Tensor,
  type TensorDtype,
  type WgslArena,
  type WgslBatch,
  type WgslBinding,
  type WgslRecorder,
} from "@kvcache/core";
import type { CommandQueue } from "./command-queue.ts";
import { DeviceTensor, hostContents } from "./device-tensor.ts";
import { getOrMake } from "./get-or-make.ts";
import type { GpuMemory } from "./gpu-memory.ts";
import { isGpuMemory } from "./gpu-memory.ts";
import type { DeviceCache } from "./webgpu-cache.ts";

/** Words per row of `WgslArena.rows`. */
const rowWords = 8;

/** A recorder over a cache; `own` is told of every tensor that it makes. */
export function createWgslRecorder(
  { gpu, host, memory, tables, hostBatch }: DeviceCache,
  queue: CommandQueue,
  own: (tensor: DeviceTensor) => DeviceTensor,
): WgslRecorder {
  const uploads = new WeakMap<Tensor, DeviceTensor>();
  const batches = new WeakMap<KvBatch, WgslBatch>();

  const create = (dtype: TensorDtype, length: number) => own(new DeviceTensor(dtype, length));

  /** A tensor whose contents are the host's. */
  const constant = (contents: Uint32Array | Int32Array | Float32Array, dtype: TensorDtype) => {
    const tensor = create(dtype, contents.length);
    tensor.onHost(true).set(contents);
    return tensor;
  };

  const place = (tensor: Tensor, written: boolean): GpuMemory => {
    if (isGpuMemory(tensor)) return tensor;
    if (tensor instanceof DeviceTensor) return tensor.onDevice(gpu, queue, written);
    const contents = hostContents(tensor);
    if (!contents || written)
      throw new KvCacheError("invalid-argument", "A WGSL kernel got a tensor of another encoder.", {
        value: { dtype: tensor.dtype, length: tensor.length },
        remedy: "Make tensors with the encoder that runs the kernel.",
      });
    const uploaded = getOrMake(uploads, tensor, () => constant(contents, tensor.dtype));
    return uploaded.onDevice(gpu, queue, false);
  };

  const placed = (bindings: Readonly<Record<string, WgslBinding>>, written: boolean) =>
    Object.fromEntries(
      Object.entries(bindings).map(([name, { buffer, type }]) => [
        name,
        { buffer: place(buffer, written), type },
      ]),
    );

  return {
    tensor: create,
    batch(batch) {
      const known = batches.get(batch);
      if (known) return known;
      const own = hostBatch(batch);
      if (!own)
        throw new KvCacheError("invalid-argument", "The batch belongs to another cache.", {
          remedy: "Use a batch of the cache that the session is attached to.",
        });
      tables.sync(batch.sequences);
      const made: WgslBatch = {
        arenas: arenasOf(own).map(({ index, rows }): WgslArena => {
          const { storage, side, numSlots } = memory.arenas[index]!;
          return {
            layout: host.arenas[index]!.layout,
            numRows: rows.length / rowWords,
            longestRow: longestOf(rows),
            rows: constant(Uint32Array.from(rows), "u32"),
            storage,
            side,
            numSlots,
          };
        }),
        tables: tables.memory,
        maxBlocksPerRow: host.maxBlocksPerRow,
        lengthsAt: tables.lengthsAt,
        windowQueries: memory.windowQueries,
        windowSize: host.windowSize,
      };
      batches.set(batch, made);
      return made;
    },
    dispatch(dispatch) {
      queue.dispatch({
        ...dispatch,
        reads: placed(dispatch.reads, false),
        writes: placed(dispatch.writes, true),
      });
    },
  };
}

/** Slots of the longest of the rows that {@link arenasOf} lists. */
function longestOf(rows: readonly number[]): number {
  let longest = 0;
  for (let at = 0; at < rows.length; at += rowWords)
    longest = Math.max(longest, rows[at + 1]! - rows[at]!);
  return longest;
}

/** Rows of a batch by arena, as `WgslArena.rows` has them. */
function arenasOf(batch: KvBatch): readonly { index: number; rows: number[] }[] {
  const { shape, layout, sequences, layers } = batch;
  const indptr = hostContents(batch.rowIndptr)!;
  const byArena = new Map<number, number[]>();
  let row = 0;
  sequences.forEach((sequence, sequenceIndex) => {
    for (const layer of layers)
      for (let head = 0; head < shape.numKvHeads; head++, row++) {
        const owner = layout.layerMap[layer]!;
        const arena = layout.arenaOfLayer[owner]!;
        if (!byArena.has(arena)) byArena.set(arena, []);
        const tableRow = (sequence * shape.numLayers + owner) * shape.numKvHeads + head;
        byArena
          .get(arena)!
          .push(
            indptr[row]!,
            indptr[row + 1]!,
            tableRow,
            row,
            sequenceIndex,
            layer,
            head,
            sequence,
          );
      }
  });
  return [...byArena].map(([index, rows]) => ({ index, rows }));
}
