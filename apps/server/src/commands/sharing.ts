import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { KvCacheError } from "@kvcache/core";
import type { TraceEvent } from "@kvcache/engine";
import { type Command, Option } from "commander";
import type { FastifyBaseLogger } from "fastify";
import type { AssembleOptions } from "../assemble.ts";
import type { ModelMetrics } from "../http/metrics/model-metrics.ts";
import type { ModelSettings } from "../http/models-file.ts";
import { type ModelEvents, openModelEvents } from "../kv-events/model-events.ts";
import type { GuardedStore } from "../kv-store/guarded-store.ts";
import { openKvStore } from "../kv-store/open-store.ts";
import { createStoreTier, type StoreTier } from "../kv-store/store-tier.ts";
import { parseBytes } from "../quantities.ts";

export interface SharingOptions {
  readonly kvStore?: string;
  readonly kvStoreTtl?: number;
  readonly kvStoreTimeout: number;
  readonly kvStoreQueue: string;
  readonly kvEvents?: string;
  readonly kvEventsReplay?: string;
  readonly kvEventsId: string;
}

/** What this process shares with others: prefixes in a store, news of them for routers. */
export interface Sharing {
  /** For the log. */
  about(): object;
  /** What one more model takes part with. */
  join(
    model: ModelSettings,
    reported: ModelMetrics,
  ): Promise<
    Pick<AssembleOptions, "prefixTier" | "watchPrefixes"> & {
      readonly sink?: (event: TraceEvent) => void;
    }
  >;
  /** Sends what is on its way, for two seconds at most. Call it while the models are still there. */
  finish(): Promise<void>;
  /** Call it after the models have gone. */
  close(): Promise<void>;
}

/** Throws `invalid-argument` for addresses that are none; a store that is away is no error. */
export async function openSharing(
  options: SharingOptions,
  log: FastifyBaseLogger,
): Promise<Sharing> {
  const { kvStore, kvEvents } = options;
  const maxQueueBytes = parseBytes(options.kvStoreQueue);
  const tiers: StoreTier[] = [];
  const announcers: ModelEvents[] = [];
  let store: GuardedStore | undefined;
  if (kvStore !== undefined)
    store = await openKvStore({
      url: kvStore,
      ttlSeconds: options.kvStoreTtl,
      timeoutMs: options.kvStoreTimeout,
      onChange(up, { description }, error) {
        const about = { store: description, ...(up ? {} : { reason: String(error) }) };
        if (up) log.info(about, "the KV store answers again");
        else log.warn(about, "the KV store is away: prefixes are computed until it is back");
      },
    });

  async function announce(model: ModelSettings, reported: ModelMetrics): Promise<ModelEvents> {
    const events = await openModelEvents({
      endpoint: kvEvents!,
      replayEndpoint: options.kvEventsReplay,
      id: options.kvEventsId,
      model: model.name,
      index: announcers.length,
      blockSize: model.blockSize,
      onEvent: reported.event,
    });
    announcers.push(events);
    return events;
  }

  const tierFor =
    (shared: GuardedStore, reported: ModelMetrics): AssembleOptions["prefixTier"] =>
    (cache) => {
      if (!cache.prefixes.exchange)
        throw new KvCacheError("unsupported", "--kv-store needs a cache in host memory.", {
          remedy: "Leave it out, or choose another --backend.",
        });
      const tier = createStoreTier({
        store: shared,
        cache,
        maxQueueBytes,
        watcher: reported.store,
      });
      reported.watchStore(() => shared.up);
      tiers.push(tier);
      return tier;
    };

  return Object.freeze<Sharing>({
    about: () => ({
      kvEvents: kvEvents ?? "none",
      kvStore: store ? { store: store.description, up: store.up } : "none",
    }),
    async join(model, reported) {
      const events = kvEvents === undefined ? undefined : await announce(model, reported);
      return {
        ...(events && { watchPrefixes: events.watcher, sink: events.sink }),
        ...(store && { prefixTier: tierFor(store, reported) }),
      };
    },
    async finish() {
      const flushed = Promise.all(tiers.map((tier) => tier.flush()));
      await Promise.race([flushed, sleep(2_000, undefined, { ref: false })]);
      for (const announcer of announcers.splice(0)) await announcer.close();
    },
    async close() {
      for (const announcer of announcers.splice(0)) await announcer.close();
      await store?.close();
    },
  });
}

export const addSharingOptions = (
  command: Command,
  whole: (low: number, high: number) => (text: string) => number,
): Command =>
  command
    .addOption(
      new Option(
        "--kv-store <url>",
        "share prefixes with other replicas: redis://host:6379, or rediss://",
      ).env("KVCACHE_KV_STORE"),
    )
    .option("--kv-store-ttl <seconds>", "life of what is written there", whole(1, 2 ** 31))
    .option("--kv-store-timeout <ms>", "longest wait for an answer", whole(1, 60_000), 1_000)
    .option("--kv-store-queue <size>", "most bytes that wait to be written there", "256MiB")
    .option("--kv-events <endpoint>", "publish which prefixes are cached (ZeroMQ): tcp://*:5557")
    .option("--kv-events-replay <endpoint>", "repeat missed events there: tcp://*:5558")
    .option("--kv-events-id <name>", "what routers call this process", hostname());
