import { type CacheStats, sum } from "@kvcache/core";
import type { EngineStats } from "@kvcache/engine";
import type { Sample } from "./frame.ts";

/** Points kept: five minutes of them. */
const MAX_SAMPLES = 600;

/** Samples of an engine's counters, as differences. */
export interface Timeline {
  readonly samples: readonly Sample[];
  take(stats: EngineStats): Sample;
}

const heldBytes = ({ arenas }: CacheStats): number =>
  sum(arenas.map((a) => (a.totalBlocks - a.freeBlocks - a.reclaimableBlocks) * a.blockBytes));

export function createTimeline(): Timeline {
  const samples: Sample[] = [];
  let before: { readonly at: number; readonly stats: EngineStats } | undefined;
  return {
    samples,
    take(stats) {
      const at = performance.now();
      const seconds = before ? (at - before.at) / 1000 : 0;
      const since = (read: (stats: EngineStats) => number) =>
        before ? read(stats) - read(before.stats) : 0;
      const rate = (count: number) => (seconds > 0 ? count / seconds : 0);
      const sample: Sample = {
        time: Date.now(),
        heldBytes: heldBytes(stats.cache),
        residentBytes: stats.cache.residentBytes,
        promptRate: rate(
          since(({ promptTokens, cachedPromptTokens }) => promptTokens - cachedPromptTokens),
        ),
        generationRate: rate(since(({ generatedTokens }) => generatedTokens)),
        evicted: since(({ evictedEntries }) => evictedEntries),
        preemptions: since(({ preemptions }) => preemptions.recompute + preemptions.swap),
      };
      before = { at, stats };
      samples.push(sample);
      if (samples.length > MAX_SAMPLES) samples.shift();
      return sample;
    },
  };
}
