import { createReferenceBackend } from "@kvcache/backend-reference";
import { createWebGpuBackend, type WebGpuBackend } from "@kvcache/backend-webgpu";
import {
  type Backend,
  type CacheManager,
  cacheLayout,
  KvCacheError,
  type SequenceSlot,
  sequenceTokenBytes,
} from "@kvcache/core";
import { type DecoderModel, loadModel, tokenizerOf } from "@kvcache/decoder";
import { createEngine, type Engine, type TraceEvent } from "@kvcache/engine";
import { gatherPositions, rowView } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";
import { blobFiles } from "../files/blob-files.ts";
import { urlModel } from "../files/url-model.ts";
import type { Device, MemoryCounts, ModelSource, OpenedModel } from "../protocol.ts";

export interface RunningModel {
  readonly model: DecoderModel;
  readonly engine: Engine;
  readonly cache: CacheManager;
  readonly opened: OpenedModel;
  /** Positions of each row's entries. */
  rowPositions(sequence: SequenceSlot): Int32Array[];
  counts(): MemoryCounts;
  close(): Promise<void>;
}

export interface OpenOptions {
  readonly source: ModelSource;
  readonly device: Device;
  readonly contextTokens: number;
  onProgress(stage: "download" | "load", done: number, total: number): void;
  onTrace(event: TraceEvent): void;
}

const BLOCK_SIZE = 16;
const WINDOW = 64;
/** Room for one side's answer beside the other's prompt, which later questions start from. */
const SEQUENCES_IN_MEMORY = 2.25;
/** Tokens of one forward pass: small, so that progress shows and a software GPU answers in time. */
const STEP_TOKENS = 128;

/** Joins model, device, cache and engine. Whatever was opened is closed again when a part fails. */
export async function openModel(options: OpenOptions): Promise<RunningModel> {
  const { device } = options;
  // First, since without a device there is nothing to download for.
  const opened = device === "gpu" ? await openGpuBackend() : openCpuBackend();
  try {
    return await joinParts(options, opened);
  } catch (error) {
    await opened.backend.dispose();
    throw error;
  }
}

interface OpenedBackend extends Pick<OpenedModel, "device" | "emulated"> {
  readonly backend: Backend | WebGpuBackend;
}

async function openGpuBackend(): Promise<OpenedBackend> {
  const adapter = await navigator.gpu?.requestAdapter({ powerPreference: "high-performance" });
  if (!adapter)
    throw new KvCacheError(
      "unsupported",
      navigator.gpu ? "WebGPU finds no graphics card here." : "This browser has no WebGPU.",
    );
  const backend = await createWebGpuBackend({ adapter });
  const { vendor, architecture, description, isFallbackAdapter } = adapter.info;
  const name = description || [vendor, architecture].filter(Boolean).join(" ") || "unnamed GPU";
  const isSoftware = isFallbackAdapter || /swiftshader|llvmpipe|lavapipe|basic render/i.test(name);
  return { backend, device: name, emulated: isSoftware ? "software-gpu" : "none" };
}

const openCpuBackend = (): OpenedBackend => ({
  backend: createReferenceBackend(),
  device: "CPU, one thread",
  emulated: "cpu",
});

async function joinParts(
  { source, contextTokens, onProgress, onTrace }: OpenOptions,
  { backend, device, emulated }: OpenedBackend,
): Promise<RunningModel> {
  const found =
    source.kind === "url"
      ? await urlModel(source.url, source.name, (done, total) =>
          onProgress("download", done, total),
        )
      : {
          files: blobFiles(source.name, new Map(source.files.map((file) => [file.name, file]))),
          stored: false,
        };
  const model = await loadModel(found.files, { name: source.name });
  const { graph } = model;
  // Throws where there is none: this page has no use for token ids.
  tokenizerOf(model);
  const context = Math.min(contextTokens, graph.maxPositions);
  const layout = cacheLayout(graph.shape, {
    blockSize: BLOCK_SIZE,
    slidingWindow: graph.slidingWindow,
  });
  const tokenBytes = sequenceTokenBytes(layout);
  const cacheOptions = {
    layout,
    maxSequences: 2,
    maxTokensPerSequence: context,
    memoryBytes: Math.ceil(SEQUENCES_IN_MEMORY * (context + BLOCK_SIZE)) * tokenBytes,
    windowSize: WINDOW,
  };
  const onDevice = "createCache" in backend ? backend : undefined;
  const deviceCache = await (onDevice as WebGpuBackend | undefined)?.createCache(cacheOptions);
  // Shared memory needs headers that static hosts do not send.
  const cache = deviceCache ?? createPagedCache({ ...cacheOptions, shared: false });
  const engine = await createEngine({
    model,
    backend,
    cache,
    scheduler: { maxBatchTokens: STEP_TOKENS },
    signals: ["queryStatistics"],
    load: { onProgress: (done: number, total: number) => onProgress("load", done, total) },
    trace: { sink: onTrace },
  });
  return {
    model,
    engine,
    cache,
    opened: {
      name: model.name,
      device,
      emulated,
      numLayers: graph.shape.numLayers,
      numKvHeads: graph.shape.numKvHeads,
      contextTokens: context,
      tokenBytes,
      cacheBytes: cache.stats().capacityBytes,
      stored: found.stored,
    },
    rowPositions: (sequence) =>
      deviceCache ? deviceCache.rowPositions(sequence) : hostPositions(cache, sequence),
    counts() {
      const { buffers, bytes } = (backend as Partial<WebGpuBackend>).counts?.() ?? {
        buffers: 0,
        bytes: 0,
      };
      return { buffers, bytes };
    },
    async close() {
      await engine.dispose().catch(() => {});
      // A lost device has nothing left to free.
      try {
        cache.dispose();
      } catch {}
      await backend.dispose().catch(() => {});
    },
  };
}

function hostPositions({ host, layout }: CacheManager, sequence: SequenceSlot): Int32Array[] {
  const { numLayers, numKvHeads } = layout.shape;
  return Array.from({ length: numLayers * numKvHeads }, (_, row) =>
    gatherPositions(rowView(host!, sequence, Math.floor(row / numKvHeads), row % numKvHeads)),
  );
}
