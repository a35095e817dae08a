import { KvCacheError } from "@kvcache/core";
import { encode } from "@msgpack/msgpack";
import type { Publisher, Router } from "zeromq";
import type { KvEvent } from "./prefix-events.ts";

export interface EventPublisherOptions {
  /** `tcp://*:5557` listens; an address without wildcard is called. */
  readonly endpoint: string;
  /** Where subscribers ask for batches that they missed. */
  readonly replayEndpoint?: string | undefined;
  /** Batches that can be asked for again. */
  readonly bufferSteps?: number;
}

export interface EventPublisher {
  /**
   * Sends a batch under a topic. Batches of a topic are numbered from 0; those of the first topic
   * that is used can be replayed.
   */
  publish(topic: string, events: readonly KvEvent[]): void;
  /** Resolves when what was published is out of this process's hands. */
  close(): Promise<void>;
}

/** Of the replay's last message. */
const END = Buffer.alloc(8, 0xff);
const HIGH_WATER_MARK = 100_000;

/** Loaded by a name that bundlers do not follow: where it is not installed, nothing else fails. */
async function loadZeromq(): Promise<typeof import("zeromq")> {
  const name = "zeromq";
  try {
    return await import(name);
  } catch (cause) {
    throw new KvCacheError("unsupported", "KV events need the package zeromq.", {
      value: "zeromq",
      remedy: "Install it beside the server: npm i zeromq.",
      cause,
    });
  }
}

const listens = (endpoint: string) => /\*|::|^(ipc|inproc):\/\//.test(endpoint);

/**
 * The publisher of vLLM's KV events: messages of three frames (topic, number as u64 big-endian,
 * MessagePack), and a ROUTER socket that repeats them. Throws `unsupported` without zeromq and
 * `invalid-argument` for an address that cannot be used.
 */
export async function openEventPublisher(options: EventPublisherOptions): Promise<EventPublisher> {
  const { endpoint, replayEndpoint, bufferSteps = 10_000 } = options;
  const zeromq = await loadZeromq();
  const socket: Publisher = new zeromq.Publisher({
    sendHighWaterMark: HIGH_WATER_MARK,
    linger: 500,
  });
  const replay: Router | undefined = replayEndpoint ? new zeromq.Router({ linger: 0 }) : undefined;
  try {
    if (listens(endpoint)) await socket.bind(endpoint);
    else socket.connect(endpoint);
    await replay?.bind(replayEndpoint!);
  } catch (cause) {
    socket.close();
    replay?.close();
    throw new KvCacheError("invalid-argument", `KV events: ${(cause as Error).message}.`, {
      value: `${endpoint} ${replayEndpoint ?? ""}`.trim(),
      remedy: "Use free ports, as in tcp://*:5557.",
      cause,
    });
  }

  const numbers = new Map<string, bigint>();
  const buffer: { readonly number: bigint; readonly payload: Uint8Array }[] = [];
  let first: string | undefined;
  // One message at a time: the socket takes no second one before.
  let sending: Promise<unknown> = Promise.resolve();

  const bytesOf = (number: bigint) => {
    const bytes = Buffer.alloc(8);
    bytes.writeBigUInt64BE(number);
    return bytes;
  };

  async function serveReplay(router: Router): Promise<void> {
    for await (const frames of router) {
      const [client, empty, start] = frames;
      if (frames.length !== 3 || start!.length !== 8) continue;
      const from = start!.readBigUInt64BE();
      // A client that left cannot be reached; others can.
      const answer = (number: Uint8Array, payload: Uint8Array) =>
        router.send([client!, empty!, number, payload]).catch(() => {});
      for (const { number, payload } of buffer.filter(({ number }) => number >= from))
        await answer(bytesOf(number), payload);
      await answer(END, Buffer.alloc(0));
    }
  }
  const replaying = replay ? serveReplay(replay).catch(() => {}) : undefined;

  return Object.freeze<EventPublisher>({
    publish(topic, events) {
      first ??= topic;
      const number = numbers.get(topic) ?? 0n;
      numbers.set(topic, number + 1n);
      const time = (performance.timeOrigin + performance.now()) / 1000;
      const payload = encode([time, events, 0], { useBigInt64: true });
      if (topic === first) buffer.push({ number, payload });
      if (buffer.length > bufferSteps) buffer.shift();
      sending = sending
        .then(() => socket.send([topic, bytesOf(number), payload]))
        // Closed meanwhile: nobody listens any more.
        .catch(() => {});
    },
    async close() {
      await sending;
      replay?.close();
      socket.close();
      await replaying;
    },
  });
}
