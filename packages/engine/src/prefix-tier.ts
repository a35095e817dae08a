import type { PrefixKey } from "@kvcache/core";

/**
 * Where prefixes are kept beside the cache: for other engines, or for later. Bytes are
 * those of core's `PrefixExchange`. A tier that fails is a slower one: it never rejects or throws.
 */
export interface PrefixTier {
  /**
   * Hands what it has of the tokens `known` … `limit` − 1 to `write`, in order. A request waits for
   * it; undefined where there is nothing to wait for.
   */
  fetch(
    key: PrefixKey,
    known: number,
    limit: number,
    write: WritePrefix,
  ): Promise<void> | undefined;
  /**
   * The cache holds all tokens of the key. Called from the engine's steps, so it only takes note;
   * `read` serves later, as long as the cache still holds them.
   */
  offer(key: PrefixKey, read: ReadPrefix): void;
  /**
   * Hands over the cache of exactly this prompt, compressed by this plan; resolves to whether that
   * took place. Undefined where there is nothing to wait for.
   */
  fetchCompressed(
    key: PrefixKey,
    planFingerprint: string,
    write: (bytes: Uint8Array) => Promise<boolean>,
  ): Promise<boolean> | undefined;
  /** The cache holds this prompt, compressed by this plan; like `offer`. */
  offerCompressed(
    key: PrefixKey,
    planFingerprint: string,
    bytes: number,
    read: () => Promise<Uint8Array | undefined>,
  ): void;
}

/** Puts groups behind the first `start` tokens; resolves to the tokens that are known then. */
export type WritePrefix = (start: number, bytes: Uint8Array) => Promise<number>;

/** Undefined where the cache does not hold the tokens any more. */
export type ReadPrefix = (start: number, stop: number) => Uint8Array | undefined;
