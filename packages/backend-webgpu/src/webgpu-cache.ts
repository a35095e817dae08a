import {
  type CacheManager,
  type CacheOptions,
  type Encoder,
  type HostCache,
  hostTensor,
  type KeepSet,
  type KvBatch,
  KvCacheError,
  type SequenceSlot,
} from "@kvcache/core";
import { createHostEncoder, gatherPositions, rowView } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";
import type { CommandQueue } from "./command-queue.ts";
import { arenaBytes, checkArenas, fitArenas, quadDtypeOf } from "./device-layout.ts";
import { createDeviceMemory, type DeviceMemory } from "./device-memory.ts";
import { createDeviceTables, type DeviceTables } from "./device-tables.ts";
import type { Gpu } from "./gpu.ts";
import { createHostView, type HostView } from "./host-view.ts";

export interface WebGpuCacheOptions extends CacheOptions {
  /** Most bytes of one arena; what the device can bind when absent. */
  readonly maxArenaBytes?: number;
}

/** A cache whose keys, values, sums and window queries live on a GPU. */
export interface WebGpuCache extends CacheManager {
  readonly host: undefined;
  exportSequence(sequence: SequenceSlot): Promise<Uint8Array>;
  /** Original positions of each row's entries, which stand on the host: nothing is copied. */
  rowPositions(sequence: SequenceSlot): Int32Array[];
}

/** What a session of the same device knows of a cache beside its contract. */
export interface DeviceCache {
  readonly cache: WebGpuCache;
  readonly gpu: Gpu;
  readonly host: HostCache;
  readonly memory: DeviceMemory;
  readonly tables: DeviceTables;
  readonly view: HostView;
  /**
   * The same rows with the host cache beside them, for a batch of this cache or one derived from
   * it; undefined for anything else.
   */
  hostBatch(batch: object): KvBatch | undefined;
}

/** Tables and positions on the host, contents on the device. */
export function createDeviceCache(
  gpu: Gpu,
  queue: CommandQueue,
  { maxArenaBytes = gpu.maxBindingBytes, ...options }: WebGpuCacheOptions,
): DeviceCache {
  for (const arena of options.layout.arenas) quadDtypeOf(arena);
  const { memoryBytes, numBlocks } = options;
  const layout =
    memoryBytes === undefined
      ? options.layout
      : fitArenas(options.layout, arenaBytes(options.layout, memoryBytes), maxArenaBytes);
  if (numBlocks !== undefined) checkArenas(options.layout, numBlocks, maxArenaBytes);
  let memory: DeviceMemory | undefined;
  // The host's arrays of contents are only touched where something runs on the host.
  const inner = createPagedCache({
    ...options,
    layout,
    shared: false,
    memory(host) {
      memory = createDeviceMemory(gpu, queue, host);
      return memory;
    },
  });
  const { host } = inner;
  const tables = createDeviceTables(gpu, queue, host);
  const view = createHostView(gpu, queue, host, memory!);
  const slides = layout.slidingWindow.some((window) => window !== undefined);
  const hostBatches = new WeakMap<KvBatch, KvBatch>();

  const cache: WebGpuCache = Object.freeze<WebGpuCache>({
    ...inner,
    host: undefined,
    close(sequence) {
      tables.changed(sequence);
      inner.close(sequence);
    },
    truncate(sequence, ...rest) {
      tables.changed(sequence);
      inner.truncate(sequence, ...rest);
    },
    releaseOutOfWindow(sequence) {
      if (slides) tables.changed(sequence);
      inner.releaseOutOfWindow(sequence);
    },
    unshare(sequence) {
      tables.changed(sequence);
      inner.unshare(sequence);
    },
    batch(sequences, batchOptions) {
      const hostBatch = inner.batch(sequences, batchOptions);
      const batch: KvBatch = Object.freeze({ ...hostBatch, host: undefined });
      hostBatches.set(batch, hostBatch);
      return batch;
    },
    async compact(encoder, batch, keep, compactOptions) {
      const hostBatch = hostBatches.get(batch);
      if (!hostBatch)
        throw new KvCacheError("invalid-argument", "The batch belongs to another cache.", {
          remedy: "Compact a batch that this cache's batch() made.",
        });
      const kept = await readKeep(encoder, keep);
      for (const sequence of batch.sequences) tables.changed(sequence);
      await inner.compact(createHostEncoder(), hostBatch, kept, compactOptions);
      queue.flush();
      gpu.check();
    },
    async exportSequence(sequence) {
      inner.windowLength(sequence);
      await view.download([sequence]);
      return inner.exportSequence(sequence);
    },
    rowPositions(sequence) {
      inner.windowLength(sequence);
      const { numLayers, numKvHeads } = layout.shape;
      return Array.from({ length: numLayers * numKvHeads }, (_, row) => {
        const head = row % numKvHeads;
        return gatherPositions(rowView(host, sequence, Math.floor(row / numKvHeads), head));
      });
    },
    importSequence(bytes) {
      const sequence = inner.importSequence(bytes);
      view.upload(sequence);
      return sequence;
    },
    async snapshot(sequences) {
      await view.download(sequences);
      return host;
    },
    dispose() {
      inner.dispose();
      queue.flush();
      inner.prefixes.clear();
      memory!.release();
      tables.release();
    },
  });
  return {
    cache,
    gpu,
    host,
    memory: memory!,
    tables,
    view,
    hostBatch(value) {
      const batch = value as Partial<KvBatch>;
      const isBatch = batch.rowIndptr && batch.nextPositions && batch.layout === layout;
      if (!isBatch || batch.host !== undefined) return undefined;
      return hostBatches.get(value as KvBatch) ?? { ...(value as KvBatch), host };
    },
  };
}

/** The one readback of a compression event. */
async function readKeep(encoder: Encoder, keep: KeepSet): Promise<KeepSet> {
  const indptr = await encoder.read(keep.indptr);
  const indices = await encoder.read(keep.indices);
  return { indptr: hostTensor(indptr), indices: hostTensor(indices) };
}
