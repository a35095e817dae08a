import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { createOrtBackend } from "@kvcache/backend-ort";
import { createReferenceBackend } from "@kvcache/backend-reference";
import { createWebGpuBackend } from "@kvcache/backend-webgpu";
import {
  type Backend,
  type BlockWatcher,
  type CacheManager,
  type CachePlan,
  cacheLayout,
  KvCacheError,
  type PrefixWatcher,
  type Signal,
  type SignalKind,
  type SwapSpace,
  sequenceTokenBytes,
  signalsOf,
  type WeightFormat,
} from "@kvcache/core";
import { type DecoderModel, loadModel } from "@kvcache/decoder";
import {
  createEngine,
  createMemorySwap,
  createRunner,
  type Engine,
  type PrefixTier,
  type Runner,
  type TraceOptions,
} from "@kvcache/engine";
import { compact } from "@kvcache/kernels";
import { modelUrl } from "@kvcache/model-tiny";
import { createPagedCache } from "@kvcache/paged";

export const backendNames = ["auto", "ort-native", "ort-segmented", "webgpu", "reference"] as const;
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
  /** Most bytes that cached prefixes may hold; all of the pool when absent. */
  readonly prefixMemory?: number;
  /** Where compressed sequences wait that lost their blocks; memory when absent. */
  readonly swap?: SwapSpace;
  /**
   * Plans that requests will bring: the cache keeps as many queries as they observe, and the engine
   * gives the signals that they ask for.
   */
  readonly plans: readonly CachePlan[];
  /** Signals beside theirs, for who observes sequences without a plan. */
  readonly signals?: readonly SignalKind[];
  readonly trace?: TraceOptions;
  /** Where prefixes are kept beside the cache. */
  readonly prefixTier?: ((cache: CacheManager) => PrefixTier) | undefined;
  readonly watchPrefixes?: PrefixWatcher | undefined;
  /** One watcher for the blocks of each arena. */
  readonly watchBlocks?: (arena: number) => BlockWatcher;
  readonly onProgress?: (message: string) => void;
}

export interface Assembled {
  readonly model: DecoderModel;
  readonly backend: Backend;
  readonly cache: CacheManager;
  readonly engine: Engine;
  /** Most bytes of what is cached beside running sequences. */
  readonly limits: {
    readonly prefixBytes: number;
    readonly swapBytes: number;
    /** Sequences that run at once. */
    readonly sequences: number;
  };
  close(): Promise<void>;
}

/** What a step carries at most, in tokens, and so in sequences. */
const DEFAULT_BATCH_TOKENS = 512;

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
  if (name === "webgpu") return createWebGpuBackend();
  const mode = name === "auto" ? "auto" : name === "ort-native" ? "native" : "segmented";
  return createOrtBackend({ mode, threads: threads ?? availableParallelism() });
}

const signalsFor = (plans: readonly CachePlan[]): readonly Signal[] =>
  plans.flatMap(({ eviction }) => (eviction ? signalsOf(eviction.policy) : []));

/** Queries that scorers look back at; at least 64, so that any policy can be tried. */
const windowSizeFor = (signals: readonly Signal[]): number =>
  Math.max(64, ...signals.map((s) => (s.kind === "windowQueries" ? s.window : 0)));

/** Joins model, backend, cache and engine. The caller closes what it gets. */
export async function assemble(options: AssembleOptions): Promise<Assembled> {
  const { parts, close } = await openParts(options);
  const { model, backend, cache } = parts;
  const { swap = createMemorySwap(2 ** 30) } = options;
  const maxSequences = Math.min(options.maxSequences, DEFAULT_BATCH_TOKENS);
  const engine = await createEngine({
    ...parts,
    swap,
    ...(options.trace ? { trace: options.trace } : {}),
    prefixTier: options.prefixTier?.(cache),
    scheduler: { maxSequences },
  });
  return {
    model,
    backend,
    cache,
    engine,
    limits: {
      prefixBytes: options.prefixMemory ?? cache.stats().capacityBytes,
      swapBytes: swap.maxBytes,
      sequences: maxSequences,
    },
    async close() {
      await engine.dispose();
      await close();
    },
  };
}

export interface AssembledRunner {
  readonly model: DecoderModel;
  readonly backend: Backend;
  readonly runner: Runner;
  close(): Promise<void>;
}

/** Joins model, backend and cache for sequences that are driven by hand. */
export async function assembleRunner(options: AssembleOptions): Promise<AssembledRunner> {
  const { parts, close } = await openParts(options);
  const runner = await createRunner(parts);
  return {
    model: parts.model,
    backend: parts.backend,
    runner,
    async close() {
      await runner.dispose();
      await close();
    },
  };
}

async function openParts(options: AssembleOptions) {
  const { onProgress } = options;
  onProgress?.(`reading ${options.model}`);
  const model = await openModel(options.model, onProgress);
  const { graph } = model;
  const layout = cacheLayout(graph.shape, {
    blockSize: options.blockSize,
    dtype: options.kvDtype,
    slidingWindow: graph.slidingWindow,
  });
  const signals = signalsFor(options.plans);
  const kinds = [...new Set([...signals.map(({ kind }) => kind), ...(options.signals ?? [])])];
  // A replay feeds up to the whole prompt again, behind it.
  const passes = kinds.includes("replay") ? 2 : 1;
  const context = passes * graph.maxPositions + options.blockSize;
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
  const backend = await openBackend(options.backend, options.threads);
  const cacheOptions = {
    layout,
    // A tier moves compressed prompts through a sequence of its own.
    maxSequences: options.maxSequences + (options.prefixTier ? 1 : 0),
    maxTokensPerSequence: context,
    memoryBytes,
    ...(options.prefixMemory === undefined ? {} : { prefixBytes: options.prefixMemory }),
    windowSize: windowSizeFor(signals),
    ...(options.watchPrefixes ? { watchPrefixes: options.watchPrefixes } : {}),
    ...(options.watchBlocks ? { watchBlocks: options.watchBlocks } : {}),
  };
  const cache =
    (await backend.createCache?.(cacheOptions)) ??
    createPagedCache({ ...cacheOptions, compaction: compact });
  onProgress?.("loading weights");
  return {
    parts: {
      model,
      backend,
      cache,
      // A plan that needs one the backend cannot give is refused by name when it is used.
      signals: kinds.filter((kind) => backend.signals.includes(kind)),
      load: {
        weightFormat: options.dtype,
        onProgress: (done: number, total: number) =>
          onProgress?.(`loading weights ${Math.floor((100 * done) / total)} %`),
      },
    },
    async close() {
      await backend.dispose();
      cache.dispose();
    },
  };
}
