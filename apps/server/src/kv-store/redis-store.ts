import { KvCacheError } from "@kvcache/core";
import { Redis } from "ioredis";
import { type BlockStore, StoreFullError } from "./block-store.ts";

export interface RedisStoreOptions {
  /** redis:// or rediss:// (TLS), with user, password and database as usual. */
  readonly url: string;
  /** Values go after so many seconds; undefined: when the server's own `maxmemory-policy` says so. */
  readonly ttlSeconds?: number | undefined;
  readonly connectTimeoutMs?: number;
  /** Silence after which a connection counts as lost, although nobody closed it. */
  readonly silenceMs?: number;
}

/** Throws `invalid-argument` unless it is an address of Redis; the message holds no password. */
export function parseStoreUrl(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.hostname && ["redis:", "rediss:"].includes(url.protocol)) return url;
  throw new KvCacheError("invalid-argument", "The store's address is none of Redis or Valkey.", {
    value: url?.protocol ?? "no URL",
    remedy: "Write redis://host:6379, or rediss:// for TLS.",
  });
}

/**
 * Redis or Valkey. Nothing is queued for a server that is away: commands fail at once then, while
 * the client goes on trying to reach it.
 */
export function createRedisStore(options: RedisStoreOptions): BlockStore {
  const { url: text, ttlSeconds, connectTimeoutMs = 2_000, silenceMs = 5_000 } = options;
  const url = parseStoreUrl(text);
  const redis = new Redis(text, {
    lazyConnect: true,
    connectTimeout: connectTimeoutMs,
    socketTimeout: silenceMs,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: null,
    connectionName: "kvcache",
    retryStrategy: (attempt) => Math.min(5_000, 50 * 2 ** attempt),
  });
  /** Why it cannot be reached: calls fail with less. */
  let lastError: Error | undefined;
  redis.on("error", (error: Error) => {
    lastError = error;
  });
  redis.on("ready", () => {
    lastError = undefined;
  });
  const connecting = redis.connect().catch(() => {});

  return Object.freeze<BlockStore>({
    description: `${url.protocol}//${url.host}${url.pathname === "/" ? "" : url.pathname}`,
    async ping() {
      await connecting;
      await redis.ping().catch((error) => {
        throw lastError ?? error;
      });
    },
    async has(names) {
      const replies = await Promise.all(names.map((name) => redis.exists(name)));
      return replies.map((count) => count === 1);
    },
    async get(names) {
      const replies = await Promise.all(names.map((name) => redis.getBuffer(name)));
      return replies.map((value) => value ?? undefined);
    },
    async set(name, value) {
      const bytes = Buffer.from(value.buffer, value.byteOffset, value.byteLength);
      try {
        if (ttlSeconds === undefined) await redis.set(name, bytes);
        else await redis.set(name, bytes, "EX", ttlSeconds);
      } catch (cause) {
        if (/^OOM /.test((cause as Error).message)) throw new StoreFullError("", { cause });
        throw cause;
      }
    },
    async close() {
      redis.disconnect();
    },
  });
}
