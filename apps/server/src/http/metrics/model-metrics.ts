import type { BlockWatcher, KvShape } from "@kvcache/core";
import type { EngineCounters, GenerationStream, TraceEvent } from "@kvcache/engine";
import type { Assembled } from "../../assemble.ts";
import type { StoreWatcher } from "../../kv-store/store-tier.ts";
import type { SnapshotStore } from "../snapshots/snapshot-store.ts";
import { watchBlocks } from "./block-times.ts";
import type { Metrics, OwnLabels } from "./metrics.ts";
import { timed } from "./request-times.ts";

/** What one model reports. */
export interface ModelMetrics {
  /** Watches the blocks of an arena. */
  readonly watchBlocks: () => BlockWatcher;
  /** Counts what was published about the cache. */
  event(name: string): void;
  /** Watches what goes to the store that replicas share. */
  readonly store: StoreWatcher;
  /** Says, whenever somebody asks, whether that store answers. */
  watchStore(isUp: () => boolean): void;
  /** Counts the model's files whenever somebody asks. */
  watchSnapshots(store: SnapshotStore): void;
  /** Takes the engine's trace. */
  readonly sink: (event: TraceEvent) => void;
  /** Reads the engine's counters whenever somebody asks for them. */
  watch(run: Assembled): void;
  /** The same stream; its times are observed as it is read. */
  observe(stream: GenerationStream): GenerationStream;
}

const LAYER_GROUPS = 4;

/** Layers in up to four groups, each named by its first and last layer. */
function layerGroups({ numLayers }: KvShape): readonly string[] {
  const size = Math.ceil(numLayers / LAYER_GROUPS);
  return Array.from({ length: numLayers }, (_, layer) => {
    const first = Math.floor(layer / size) * size;
    return `${first}-${Math.min(numLayers, first + size) - 1}`;
  });
}

export function createModelMetrics(metrics: Metrics, modelName: string): ModelMetrics {
  const labels: OwnLabels = { model_name: modelName, engine: "0" };
  metrics.show(labels);
  let shape: KvShape | undefined;
  let groups: readonly string[] = [];
  /** What each sequence kept per row last, and how many tokens it had seen by then. */
  const kept = new Map<number, { readonly rows: readonly number[]; readonly tokens: number }>();

  function compressed(event: Extract<TraceEvent, { type: "compress" }>): void {
    const { policy, sequence, tokens, kept: rows, milliseconds } = event;
    const { numKvHeads } = shape!;
    const before = kept.get(sequence);
    const evicted = new Map<string, number>();
    let total = 0;
    rows.forEach((now, row) => {
      const group = groups[Math.floor(row / numKvHeads)]!;
      const had = before ? before.rows[row]! + tokens - before.tokens : tokens;
      evicted.set(group, (evicted.get(group) ?? 0) + Math.max(0, had - now));
      metrics.headBudget.observe({ ...labels, policy }, now);
      total += now;
    });
    for (const [layer_group, count] of evicted)
      metrics.evicted.inc({ ...labels, policy, layer_group }, count);
    kept.set(sequence, { rows, tokens });
    metrics.compressionRatio.set({ ...labels, policy }, total / (rows.length * tokens));
    metrics.scoring.observe({ ...labels, policy }, milliseconds / 1000);
  }

  return {
    watchBlocks: () => watchBlocks(metrics, labels),
    event: (event) => metrics.events.inc({ ...labels, event }),
    store: storeWatcher(metrics, labels),
    watchStore(isUp) {
      metrics.collectors.push(() => metrics.storeUp.set(labels, Number(isUp())));
    },
    watchSnapshots(store) {
      metrics.collectors.push(() => {
        const own = store.list().filter(({ model }) => model === modelName);
        metrics.snapshotFiles.set(labels, own.length);
        metrics.snapshotBytes.set(
          labels,
          own.reduce((sum, { bytes }) => sum + bytes, 0),
        );
        metrics.snapshotMaxBytes.set(labels, store.maxBytes);
      });
    },
    sink(event) {
      if (event.type === "start") {
        shape = event.shape;
        groups = layerGroups(event.shape);
      } else if (event.type === "step")
        metrics.iterationTokens.observe(labels, event.prefillTokens + event.decodeTokens);
      else if (event.type === "compress") compressed(event);
      else if (event.type === "finish") kept.delete(event.sequence);
    },
    watch: (run) => watchEngine(metrics, labels, run),
    observe: (stream) => timed(metrics, labels, stream),
  };
}

const storeWatcher = (metrics: Metrics, labels: OwnLabels): StoreWatcher => ({
  looked(tokens, found) {
    metrics.externalQueries.inc(labels, tokens);
    metrics.externalHits.inc(labels, found);
  },
  moved: (direction, bytes) => metrics.storeBytes.inc({ ...labels, direction }, bytes),
  dropped: (reason) => metrics.storeDropped.inc({ ...labels, reason }),
  failed: () => metrics.storeFailures.inc(labels),
  took: (operation, seconds) => metrics.storeSeconds.observe({ ...labels, operation }, seconds),
  queued: (bytes) => metrics.storeQueueBytes.set(labels, bytes),
});

const nothingYet: EngineCounters = {
  steps: 0,
  promptTokens: 0,
  cachedPromptTokens: 0,
  generatedTokens: 0,
  compressions: 0,
  evictedEntries: 0,
  preemptions: { recompute: 0, swap: 0 },
  idleReclaims: 0,
  finished: { stop: 0, length: 0, abort: 0, error: 0 },
};

/** Lets the engine's own counters be read when the metrics are. */
function watchEngine(metrics: Metrics, labels: OwnLabels, run: Assembled): void {
  const { engine, cache, limits } = run;
  const { layout } = cache;
  const numBlocks = cache.stats().arenas.reduce((sum, arena) => sum + arena.totalBlocks, 0);
  metrics.cacheConfig.set(
    { ...labels, block_size: layout.arenas[0]!.blockSize, num_gpu_blocks: numBlocks },
    1,
  );
  let last: EngineCounters = nothingYet;
  const collect = () => {
    const stats = engine.stats();
    const { arenas, residentBytes, residentTokens } = stats.cache;
    const held = arenas.reduce((n, a) => n + a.totalBlocks - a.freeBlocks - a.reclaimableBlocks, 0);
    metrics.waiting.set(labels, stats.waiting);
    metrics.running.set(labels, stats.running);
    metrics.cacheUsage.set(labels, held / numBlocks);
    metrics.bytesResident.set(labels, residentBytes);
    metrics.tokensResident.set(labels, residentTokens);
    metrics.prefixBytes.set(labels, stats.cache.prefixBytes);
    metrics.prefixPinnedBytes.set(labels, stats.cache.pinnedBytes);
    metrics.prefixMaxBytes.set(labels, limits.prefixBytes);
    metrics.swapBytes.set(labels, stats.swappedBytes);
    metrics.swapMaxBytes.set(labels, limits.swapBytes);
    const { promptTokens, cachedPromptTokens, generatedTokens, preemptions, finished } = stats;
    metrics.prefixQueries.inc(labels, promptTokens - last.promptTokens);
    metrics.prefixHits.inc(labels, cachedPromptTokens - last.cachedPromptTokens);
    metrics.promptTokens.inc(labels, promptTokens - last.promptTokens);
    metrics.generationTokens.inc(labels, generatedTokens - last.generatedTokens);
    for (const by of ["recompute", "swap"] as const)
      metrics.preemptions.inc(labels, preemptions[by] - last.preemptions[by]);
    for (const finished_reason of ["stop", "length", "abort", "error"] as const)
      metrics.success.inc(
        { ...labels, finished_reason },
        finished[finished_reason] - last.finished[finished_reason],
      );
    last = stats;
  };
  metrics.collectors.push(collect);
  collect();
}
