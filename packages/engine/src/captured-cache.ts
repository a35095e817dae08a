import { type CacheManager, KvCacheError } from "@kvcache/core";
import type { CompressionEvent } from "./compression-event.ts";
import type { Sequence } from "./sequence.ts";

/** What a cache of a prompt is, beside its bytes: JSON. */
export interface CapturedState {
  /** Model and weights that the bytes were computed with. */
  readonly model: string;
  readonly planFingerprint: string;
  readonly tokenIds: readonly number[];
  /** Prompts of one class rotate equal positions alike. */
  readonly ropeClass: string;
  /** Position of the next token. */
  readonly position: number;
  /** Tokens per row: [numRows]. */
  readonly lengths: readonly number[];
  /** Present where the prompt was compressed. */
  readonly compression?: CompressionEvent;
}

/** A prompt's cache outside the engine: what `capture` gives and a request can start from. */
export interface CapturedCache {
  /** As `CacheManager.exportSequence` makes them. */
  readonly bytes: Uint8Array;
  readonly state: CapturedState;
}

/** Takes a running sequence's cache, right after its prompt was compressed. */
export async function captureSequence(
  cache: CacheManager,
  sequence: Sequence,
  origin: Pick<CapturedState, "model" | "ropeClass">,
): Promise<CapturedCache> {
  const { slot, plan, tokens, cached, position, compressions } = sequence;
  const compression = compressions.at(-1);
  return {
    bytes: await cache.exportSequence(slot!),
    state: {
      ...origin,
      planFingerprint: plan.fingerprint,
      tokenIds: Array.from(tokens.ids.subarray(0, cached)),
      position,
      lengths: Array.from(cache.sequenceStats(slot!).lengths),
      ...(compression && { compression }),
    },
  };
}

/**
 * Lets a waiting sequence begin behind a captured cache. Throws `invalid-argument` where the cache is
 * another model's, plan's or prompt's, and where the plan will ask for what was not captured.
 */
export function restoreSequence(
  sequence: Sequence,
  { bytes, state }: CapturedCache,
  origin: Pick<CapturedState, "model" | "ropeClass">,
): void {
  const { plan, tokens, promptLength } = sequence;
  const { tokenIds, compression } = state;
  const refuse = (what: string, value: unknown, remedy: string): never => {
    throw new KvCacheError("invalid-argument", `The captured cache ${what}.`, { value, remedy });
  };
  if (state.model !== origin.model)
    refuse("belongs to another model", state.model, "Capture the prompt with this one.");
  if (state.planFingerprint !== plan.fingerprint)
    refuse("was made with another plan", state.planFingerprint, "Ask with the plan it has.");
  if (tokenIds.length >= promptLength || tokens.commonPrefix(tokenIds) < tokenIds.length)
    refuse("holds another prompt", tokenIds.length, "Begin the prompt with its tokens, and go on.");
  if (state.ropeClass !== origin.ropeClass)
    refuse("was rotated for another length", state.ropeClass, "Capture it anew.");
  const { interval, pressure } = plan.trigger;
  const laterOnes = interval !== undefined || pressure === true || sequence.session !== undefined;
  if (laterOnes && plan.createObserver)
    refuse(
      "lacks what its plan gathered from the prompt for later compressions",
      plan.policy?.name,
      "Compress at the end of the prompt only, outside a session.",
    );
  const lengths = Uint32Array.from(state.lengths);
  sequence.restore(
    { bytes: { read: () => bytes, release() {} }, lengths },
    tokenIds.length,
    state.position,
    compression,
  );
}
