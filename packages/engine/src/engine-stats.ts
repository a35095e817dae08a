import type { CacheStats } from "@kvcache/core";
import type { FinishReason } from "./generation-event.ts";

/** Totals since the engine was created. */
export interface EngineCounters {
  steps: number;
  /** Prompt tokens of admitted requests, and how many of them came from the cache. */
  promptTokens: number;
  cachedPromptTokens: number;
  generatedTokens: number;
  compressions: number;
  /** Entries (token × row) that compressions evicted. */
  evictedEntries: number;
  preemptions: { recompute: number; swap: number };
  /** Idle sessions that gave their blocks up. */
  idleReclaims: number;
  finished: Record<FinishReason | "error", number>;
}

export interface EngineStats extends Readonly<EngineCounters> {
  readonly waiting: number;
  readonly running: number;
  /** Sessions between two turns that hold cache. */
  readonly idle: number;
  /** Of sequences that wait for their blocks, compressed. */
  readonly swappedBytes: number;
  readonly cache: CacheStats;
  /** Kernels that ran on the host for want of an implementation, by name. */
  readonly fallbacks: ReadonlyMap<string, number>;
}

export const createCounters = (): EngineCounters => ({
  steps: 0,
  promptTokens: 0,
  cachedPromptTokens: 0,
  generatedTokens: 0,
  compressions: 0,
  evictedEntries: 0,
  preemptions: { recompute: 0, swap: 0 },
  idleReclaims: 0,
  finished: { stop: 0, length: 0, abort: 0, error: 0 },
});
