import { type CompressionPhase, type Signal, signalFlag } from "@kvcache/core";
import type { FeedOptions } from "./token-cache.ts";

/** Queries that a cache must keep for these signals. */
export const windowSizeOf = (signals: readonly Signal[]): number =>
  signals.reduce(
    (most, signal) => (signal.kind === "windowQueries" ? Math.max(most, signal.window) : most),
    1,
  );

/** What a step of that phase records for these signals. */
export function feedOptions(signals: readonly Signal[], phase: CompressionPhase): FeedOptions {
  let flags = 0;
  let buffer = 0;
  for (const signal of signals) {
    if (signal.kind === "windowQueries") flags |= signalFlag.windowQueries;
    if (signal.kind !== "attentionSums") continue;
    if (signal.phase === "decode" && phase !== "decode") continue;
    flags |= signal.power === 1 ? signalFlag.sumAttention : signalFlag.sumSquaredAttention;
    buffer = signal.buffer ?? 0;
  }
  return { flags, buffer, phase };
}
