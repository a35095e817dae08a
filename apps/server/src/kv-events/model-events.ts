import type { PrefixWatcher } from "@kvcache/core";
import type { TraceEvent } from "@kvcache/engine";
import { createPrefixEvents, type KvEvent } from "./prefix-events.ts";
import { type EventPublisherOptions, openEventPublisher } from "./zmq-publisher.ts";

export interface ModelEventsOptions extends EventPublisherOptions {
  /** What routers call this process: in llm-d, the pod. */
  readonly id: string;
  readonly model: string;
  /** Each model has ports of its own: those of the endpoints and so many more. */
  readonly index: number;
  readonly blockSize: number;
  readonly onEvent?: (name: string) => void;
}

/** What one model tells others about its cache. */
export interface ModelEvents {
  readonly watcher: PrefixWatcher;
  /** Takes the engine's trace. */
  readonly sink: (event: TraceEvent) => void;
  /** The cache is gone. Resolves when that is on its way. */
  close(): Promise<void>;
}

/**
 * Prefixes under `kv@<id>@<model>`, beginning with AllBlocksCleared: whatever a process of that name
 * announced before is gone. Compressions under `kvcache@<id>@<model>`, which routers do not follow.
 */
export async function openModelEvents(options: ModelEventsOptions): Promise<ModelEvents> {
  const { id, model, index, blockSize, onEvent, endpoint, replayEndpoint } = options;
  const publisher = await openEventPublisher({
    ...options,
    endpoint: withPort(endpoint, index),
    replayEndpoint: replayEndpoint && withPort(replayEndpoint, index),
  });
  const publishAs = (topic: string) => (events: readonly KvEvent[]) => {
    publisher.publish(`${topic}@${id}@${model}`, events);
    for (const [name] of events) onEvent?.(name);
  };
  const prefixes = publishAs("kv");
  const compressions = publishAs("kvcache");
  prefixes([["AllBlocksCleared"]]);
  const watcher = createPrefixEvents(blockSize, prefixes);
  let closed = false;
  return Object.freeze<ModelEvents>({
    watcher: {
      stored: (group) => void (closed || watcher.stored(group)),
      removed: (group) => void (closed || watcher.removed(group)),
    },
    sink(event) {
      if (event.type !== "compress" || closed) return;
      const { sequence, policy, tokens, kept } = event;
      compressions([["TokensEvicted", sequence, policy, tokens, [...kept]]]);
    },
    async close() {
      watcher.flush();
      closed = true;
      prefixes([["AllBlocksCleared"]]);
      await publisher.close();
    },
  });
}

const withPort = (endpoint: string, more: number) =>
  endpoint.replace(/:(\d+)$/, (_, port) => `:${Number(port) + more}`);
