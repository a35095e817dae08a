import type { CacheManager, HostCache, PrefixKey, SequenceSlot } from "@kvcache/core";
import { append } from "./append.ts";
import {
  type CacheState,
  type CacheStateOptions,
  checkAlive,
  checkCount,
  checkSequence,
  createCacheState,
} from "./cache-state.ts";
import { compact } from "./compact.ts";
import { kvBatch } from "./kv-batch.ts";
import type { MoveKernel } from "./move-slots.ts";
import { adoptPrefix, lookupPrefix, publishPrefix } from "./prefix-chain.ts";
import { adoptCompressed, publishCompressed } from "./prefix-compressed.ts";
import { prefixExchange } from "./prefix-exchange.ts";
import { blocksNeeded, reserve, spareBlocks } from "./reservations.ts";
import { exportSequence, importSequence } from "./sequence-export.ts";
import { closeSequence, forkSequence, openSequence, unshareSequence } from "./sequences.ts";
import { blockUses, cacheStats, sequenceStats } from "./stats.ts";
import { truncate } from "./truncate.ts";
import { releaseOutOfWindow } from "./window-release.ts";

export interface PagedCacheOptions extends CacheStateOptions {
  /** Executes the moves of `compact` through its encoder; a loop on the host when absent. */
  readonly compaction?: MoveKernel;
}

/** A cache manager whose memory lives on the host. */
export interface PagedCache extends CacheManager {
  readonly host: HostCache;
  exportSequence(sequence: SequenceSlot): Uint8Array;
}

/**
 * A paged KV cache in host memory. Throws `invalid-argument` on sizes that make no sense and
 * `out-of-memory` when the platform refuses them.
 */
export function createPagedCache({ compaction, ...options }: PagedCacheOptions): PagedCache {
  const state = createCacheState(options);
  const { host } = state;

  /** A method on an open sequence. */
  const on =
    <A extends readonly unknown[], R>(
      run: (state: CacheState, sequence: SequenceSlot, ...rest: A) => R,
    ) =>
    (sequence: SequenceSlot, ...rest: A): R => {
      checkSequence(state, sequence);
      return run(state, sequence, ...rest);
    };

  return Object.freeze<PagedCache>({
    layout: host.layout,
    maxSequences: host.maxSequences,
    windowSize: host.windowSize,
    host,
    snapshot: async () => host,

    open: () => openSequence(state),
    close: on(closeSequence),
    fork: on(forkSequence),

    blocksToAppend: on((_, sequence, tokens: number, chunk?: number) => {
      checkCount(tokens, "tokens");
      return Array.from(blocksNeeded(state, sequence, tokens, "now", chunk));
    }),
    canTake: (blocks) => blocks.every((count, arena) => count <= spareBlocks(state, arena)),
    reserve: on(reserve),
    append: on(append),
    truncate: on(truncate),
    renumber: on((_, sequence, nextPosition: number) => {
      host.nextPositions[sequence] = nextPosition;
    }),
    releaseOutOfWindow: on(releaseOutOfWindow),
    unshare: on(unshareSequence),
    windowLength: on((_, sequence) => state.windowLengths[sequence]!),

    batch(sequences, batchOptions) {
      for (const sequence of sequences) checkSequence(state, sequence);
      return kvBatch(state, sequences, batchOptions);
    },
    compact: (encoder, batch, keep, compactOptions) =>
      compact(state, encoder, batch, keep, { ...compactOptions, kernel: compaction }),

    exportSequence: on(exportSequence),
    importSequence(bytes) {
      checkAlive(state);
      return importSequence(state, bytes);
    },

    prefixes: Object.freeze({
      lookup: (key: PrefixKey, limit: number) => lookupPrefix(state, key, limit),
      adopt: on(adoptPrefix),
      publish: on(publishPrefix),
      publishCompressed: on(publishCompressed),
      adoptCompressed: on(adoptCompressed),
      clear: (namespace?: string) => state.prefixes.clear(namespace),
      ...(options.memory ? {} : { exchange: prefixExchange(state) }),
    }),
    sequenceStats: on(sequenceStats),
    stats: () => cacheStats(state),
    blockUses: (arena) => blockUses(state, arena),
    dispose() {
      state.isDisposed = true;
    },
  });
}
