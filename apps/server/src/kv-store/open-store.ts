import type { BlockStore } from "./block-store.ts";
import { type GuardedStore, guardStore } from "./guarded-store.ts";
import { createRedisStore } from "./redis-store.ts";

export interface KvStoreOptions {
  readonly url: string;
  readonly ttlSeconds?: number | undefined;
  readonly timeoutMs: number;
  /** It went away, with the reason, or came back. */
  readonly onChange: (up: boolean, store: BlockStore, error?: unknown) => void;
}

/**
 * The store at an address, reached or not: it is left alone while it is away. Throws
 * `invalid-argument` for an address that is none.
 */
export async function openKvStore(options: KvStoreOptions): Promise<GuardedStore> {
  const { timeoutMs, onChange } = options;
  const store = createRedisStore({ ...options, silenceMs: Math.max(5_000, 4 * timeoutMs) });
  const guarded = guardStore(store, {
    timeoutMs,
    onChange: (up, error) => onChange(up, store, error),
  });
  await guarded.connect();
  return guarded;
}
