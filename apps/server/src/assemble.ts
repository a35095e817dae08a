import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { createOrtBackend } from "@kvcache/backend-ort";
import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  type Backend,
  type CachePlan,
  cacheLayout,
  KvCacheError,
  sequenceTokenBytes,
  signalsOf,
  type WeightFormat,
} from "@kvcache/core";
import { type DecoderModel, loadModel } from "@kvcache/decoder";
import { createEngine, type Engine, type TraceOptions } from "@kvcache/engine";
import { compact } from "@kvcache/kernels";
import { modelUrl } from "@kvcache/model-tiny";
import { createPagedCache, type PagedCache } from "@kvcache/paged";

export const backendNames = ["auto", "ort-native", "ort-segmented", "reference"] as const;
export type BackendName = (typeof backendNames)[number];

export interface AssembleOptions {
  /** Folder, hub id or "tiny". */
  readonly model: string;
  readonly backend: BackendName;
  readonly threads?: number;
  readonly dtype: WeightFormat;
  readonly kvDtype: "f32" | "f16";
  readonly blockSize: number;
  /** Bytes of the block pool; room for one full context when absent. */
  readonly kvMemory?: number;
  readonly maxSequences: number;
  /** Plans that requests will bring: the cache keeps as many queries as they observe. */
  readonly plans: readonly CachePlan[];
  readonly trace?: TraceOptions;
  readonly onProgress?: (message: string) => void;
}

export interface Assembled {
  readonly model: DecoderModel;
  readonly backend: Backend;
  readonly cache: PagedCache;
  readonly engine: Engine;
  close(): Promise<void>;
}

/** Reads a model by folder, hub id, or "tiny" for the one that ships. */
export const openModel = (
  source: string,
  onProgress?: (message: string) => void,
): Promise<DecoderModel> => {
  const shipped = source === "tiny";
  return loadModel(shipped ? fileURLToPath(modelUrl) : source, {
    ...(shipped ? { name: "kvcache-tiny" } : {}),
    onDownload: ({ file, doneBytes, totalBytes }) =>
      onProgress?.(
        `downloading ${file}${totalBytes ? ` ${Math.floor((100 * doneBytes) / totalBytes)} %` : ""}`,
      ),
  });
};

export async function openBackend(name: BackendName, threads?: number): Promise<Backend> {
  if (name === "reference") return createReferenceBackend();
  const mode = name === "auto" ? "auto" : name === "ort-native" ? "native" : "segmented";
  return createOrtBackend({ mode, threads: threads ?? availableParallelism() });
}

/** Queries that the plans' scorers look back at; at least one, so that any policy can be tried. */
const windowSizeFor = (plans: readonly CachePlan[]): number => {
  const windows = plans.flatMap(({ eviction }) =>
    eviction
      ? signalsOf(eviction.policy).map((s) => (s.kind === "windowQueries" ? s.window : 0))
      : [],
  );
  return Math.max(64, ...windows);
};

/** Joins model, backend, cache and engine. The caller closes what it gets. */
export async function assemble(options: AssembleOptions): Promise<Assembled> {
  const { onProgress } = options;
  onProgress?.(`reading ${options.model}`);
  const model = await openModel(options.model, onProgress);
  const { graph } = model;
  const layout = cacheLayout(graph.shape, {
    blockSize: options.blockSize,
    dtype: options.kvDtype,
    slidingWindow: graph.slidingWindow,
  });
  const context = graph.maxPositions + options.blockSize;
  const memoryBytes = options.kvMemory ?? Math.min(2 ** 31, context * sequenceTokenBytes(layout));
  if (memoryBytes < options.blockSize * sequenceTokenBytes(layout))
    throw new KvCacheError(
      "invalid-argument",
      `${memoryBytes} bytes hold not even one block of each row.`,
      {
        value: memoryBytes,
        remedy: "Raise --kv-memory.",
      },
    );
  const cache = createPagedCache({
    layout,
    maxSequences: options.maxSequences,
    maxTokensPerSequence: context,
    memoryBytes,
    windowSize: windowSizeFor(options.plans),
    compaction: compact,
  });
  const backend = await openBackend(options.backend, options.threads);
  onProgress?.("loading weights");
  const engine = await createEngine({
    model,
    backend,
    cache,
    load: {
      weightFormat: options.dtype,
      onProgress: (done, total) =>
        onProgress?.(`loading weights ${Math.floor((100 * done) / total)} %`),
    },
    ...(options.trace ? { trace: options.trace } : {}),
  });
  return {
    model,
    backend,
    cache,
    engine,
    async close() {
      await engine.dispose();
      await backend.dispose();
      cache.dispose();
    },
  };
}
