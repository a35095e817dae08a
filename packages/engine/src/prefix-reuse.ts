import {
  type CacheManager,
  type DecoderGraph,
  type PrefixKey,
  type RopeParameters,
  type SequenceSlot,
  sum,
} from "@kvcache/core";
import type { CompressionEvent } from "./compression-event.ts";
import type { PrefixTier } from "./prefix-tier.ts";
import type { Sequence } from "./sequence.ts";

/** What a sequence starts from. */
export interface AdoptedPrefix {
  readonly tokens: number;
  /** Present where the prefix was compressed already. */
  readonly compression?: CompressionEvent;
}

/** When a sequence may start from cached prefixes, and what it leaves behind for others. */
export interface PrefixReuse {
  /**
   * Brings what the sequence could start from into the index, from where else it may be; undefined
   * where there is nothing to wait for. Never rejects.
   */
  fetch(sequence: Sequence): Promise<void> | undefined;
  /** Tokens that `adopt` would find now. */
  reusable(sequence: Sequence): number;
  /** Fills the empty slot from the index. */
  adopt(sequence: Sequence, slot: SequenceSlot): AdoptedPrefix;
  /**
   * Offers the whole blocks of an uncompressed sequence; `last` says that no pass of it will write
   * to them any more.
   */
  publish(sequence: Sequence, last: boolean): void;
  /** Offers a prefix that was just compressed, to requests with the same prefix and plan. */
  publishCompressed(sequence: Sequence): void;
}

export interface PrefixReuseOptions {
  readonly cache: CacheManager;
  readonly graph: DecoderGraph;
  /** Model and weight format: prefixes never cross it. */
  readonly namespace: string;
  readonly tier?: PrefixTier | undefined;
  /** Runs a change of the cache when no step runs. */
  readonly whenFree: (change: () => void) => void;
}

/**
 * A hit stops at least the observation window before the point where the prompt is compressed (the
 * scorer must see these queries) and before the last token (somebody must give logits). Plans that
 * gather something from a prompt's tokens start from no uncompressed prefix; a compressed one serves
 * them where they will not be compressed again.
 */
export function createPrefixReuse(options: PrefixReuseOptions): PrefixReuse {
  const { cache, graph, namespace, tier, whenFree } = options;
  const { exchange } = cache.prefixes;
  const windows = cache.layout.slidingWindow.filter((window) => window !== undefined);
  const publishable = Math.min(...windows, Number.POSITIVE_INFINITY);

  const keyOf = (sequence: Sequence, tokens: number): PrefixKey => ({
    namespace: JSON.stringify([
      namespace,
      sequence.cacheSalt,
      ropeClass(graph.ropes, sequence.promptLength),
    ]),
    tokenIds: sequence.tokens.ids.slice(0, tokens),
    salt: sequence.cacheSalt,
  });

  const limitOf = ({ plan, prefillOpen, compressAfter, promptLength }: Sequence): number =>
    (prefillOpen ? compressAfter : promptLength) - Math.max(1, plan.window);

  /**
   * Whether the compressed entry is as good as one's own: later compressions need the window, and
   * what was gathered from the prompt.
   */
  const wantsCompressed = (sequence: Sequence): boolean => {
    const { plan, prefillOpen, compressAfter, promptLength, session } = sequence;
    const { interval, pressure } = plan.trigger;
    const laterOnes = interval !== undefined || pressure === true || session !== undefined;
    return (
      prefillOpen &&
      compressAfter < promptLength &&
      (!laterOnes || (plan.sharesPrompt && promptLength - compressAfter >= plan.window))
    );
  };

  /** The result of a change of the cache, made when no step runs. */
  const free = <T>(change: () => T): Promise<T> =>
    new Promise((resolve, reject) => {
      whenFree(() => {
        try {
          resolve(change());
        } catch (error) {
          reject(error);
        }
      });
    });

  function fetchPlain(sequence: Sequence): Promise<void> | undefined {
    const limit = limitOf(sequence);
    if (!sequence.plan.sharesPrompt || limit <= 0) return undefined;
    const key = keyOf(sequence, limit);
    const known = cache.prefixes.lookup(key, limit);
    return tier!.fetch(key, known, limit, (start, bytes) =>
      free(() => exchange!.write(key, start, bytes)),
    );
  }

  return Object.freeze({
    fetch(sequence: Sequence): Promise<void> | undefined {
      const { plan, cached, slot, swapped, compressAfter } = sequence;
      if (!tier || !exchange || cached > 0 || slot !== undefined || swapped) return;
      if (scoresPrompt(sequence)) return;
      if (!wantsCompressed(sequence)) return fetchPlain(sequence);
      const key = keyOf(sequence, compressAfter);
      if (exchange.hasCompressed(key, plan.fingerprint)) return;
      const fetching = tier.fetchCompressed(key, plan.fingerprint, (bytes) =>
        free(() => exchange.writeCompressed(key, plan.fingerprint, bytes)),
      );
      if (!fetching) return fetchPlain(sequence);
      return fetching.then(async (found) => {
        if (!found) await fetchPlain(sequence);
      });
    },

    reusable(sequence: Sequence): number {
      const limit = limitOf(sequence);
      if (!sequence.plan.sharesPrompt || scoresPrompt(sequence) || limit <= 0) return 0;
      return cache.prefixes.lookup(keyOf(sequence, sequence.promptLength), limit);
    },

    adopt(sequence: Sequence, slot: SequenceSlot): AdoptedPrefix {
      if (scoresPrompt(sequence)) return nothing;
      const { compressAfter: tokens, promptLength, plan } = sequence;
      if (
        wantsCompressed(sequence) &&
        cache.prefixes.adoptCompressed(slot, keyOf(sequence, tokens), plan.fingerprint)
      ) {
        const { lengths } = cache.sequenceStats(slot);
        const entriesBefore = tokens * lengths.length;
        const entriesAfter = sum(lengths);
        if (plan.sums) sequence.sums = "shared";
        return { tokens, compression: { phase: "prefill", tokens, entriesBefore, entriesAfter } };
      }
      const limit = limitOf(sequence);
      if (limit <= 0 || !plan.sharesPrompt) return nothing;
      return { tokens: cache.prefixes.adopt(slot, keyOf(sequence, promptLength), limit) };
    },

    publish(sequence: Sequence, last: boolean): void {
      const { slot, cached, promptLength, compressed, sums } = sequence;
      // Whose sums live in its blocks must not share them.
      if (slot === undefined || compressed || (sums !== "none" && !last)) return;
      // Generated tokens were rotated for their own length, which only some RoPE kinds notice.
      const sameRope = ropeClass(graph.ropes, cached) === ropeClass(graph.ropes, promptLength);
      const tokens = sameRope ? cached : Math.min(cached, promptLength);
      // Sliding-window layers have given their first blocks back by then.
      if (tokens > publishable) return;
      const key = keyOf(sequence, tokens);
      cache.prefixes.publish(slot, key, tokens, sequence.pin);
      if (exchange) tier?.offer(key, (start, stop) => exchange.read(key, start, stop));
    },

    publishCompressed(sequence: Sequence): void {
      const { plan, slot, cached, promptLength, compressAfter, compressed } = sequence;
      if (slot === undefined || cached !== compressAfter) return;
      // Where nothing was evicted, others start from the uncompressed prefix; and with the question
      // in it, nobody else will ask for it.
      if (!compressed || cached === promptLength) return;
      const pinned = sequence.pin && sequence.pin.tokens >= cached ? sequence.pin : undefined;
      const key = keyOf(sequence, cached);
      cache.prefixes.publishCompressed(slot, key, plan.fingerprint, pinned);
      if (plan.sums) sequence.sums = "shared";
      if (!tier || !exchange) return;
      const { residentBytes } = cache.sequenceStats(slot);
      tier.offerCompressed(key, plan.fingerprint, residentBytes, () =>
        free(() => exchange.readCompressed(key, plan.fingerprint)),
      );
    },
  });
}

/** Whether somebody wants to know what the model thinks of each prompt token. */
const scoresPrompt = ({ choice }: Sequence): boolean => choice?.promptScores !== undefined;

const nothing: AdoptedPrefix = Object.freeze({ tokens: 0 });

/** No reuse: what an engine with `prefixCache: false` works with. */
export const noPrefixReuse: PrefixReuse = Object.freeze({
  fetch: () => undefined,
  reusable: () => 0,
  adopt: () => nothing,
  publish: () => {},
  publishCompressed: () => {},
});

/** Prompts of one class rotate equal positions alike: only dynamic NTK and longrope tell lengths apart. */
export function ropeClass(ropes: readonly RopeParameters[], length: number): string {
  return ropes
    .map(({ scaling, maxPositions }) =>
      scaling.type === "dynamic"
        ? Math.max(length, maxPositions)
        : scaling.type === "longrope"
          ? Number(length > scaling.originalMaxPositions)
          : 0,
    )
    .join();
}
