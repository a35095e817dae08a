import type { PrefixGroup } from "@kvcache/core";
import { decode } from "@msgpack/msgpack";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Dealer, Subscriber } from "zeromq";
import { startTestServer } from "../http/test-server.ts";
import { freePort } from "../test-services.ts";
import { type ModelEvents, openModelEvents } from "./model-events.ts";
import { createPrefixEvents, type KvEvent } from "./prefix-events.ts";
import { openEventPublisher } from "./zmq-publisher.ts";

const group = (
  first: number,
  parent?: PrefixGroup,
  salt?: string,
  namespace = `m${salt ?? ""}`,
): PrefixGroup => ({
  namespace,
  parent,
  salt,
  tokenIds: Int32Array.from({ length: 4 }, (_, i) => first + i),
});

describe("events of the prefix index", () => {
  const collected = () => {
    const batches: (readonly KvEvent[])[] = [];
    return { batches, events: createPrefixEvents(4, (batch) => void batches.push(batch)) };
  };

  it("a chain is one event, in vLLM's order of fields, in the batch of its tick", async () => {
    const { batches, events } = collected();
    const a = group(0);
    const b = group(4, a);
    const c = group(8, b);
    events.stored(a);
    events.stored(b);
    await new Promise(setImmediate);
    events.stored(c);
    const other = group(90);
    events.stored(other);
    events.removed(c);
    events.removed(b);
    await new Promise(setImmediate);
    const [[first], second] = batches as [KvEvent[], KvEvent[]];
    const [x, y] = first![1] as bigint[];
    expect(first).toEqual([
      "BlockStored",
      [x, y],
      null,
      [0, 1, 2, 3, 4, 5, 6, 7],
      4,
      null,
      "GPU",
      null,
    ]);
    const [z] = second[0]![1] as bigint[];
    expect(second).toEqual([
      ["BlockStored", [z], y, [8, 9, 10, 11], 4, null, "GPU", null],
      ["BlockStored", [expect.any(BigInt)], null, [90, 91, 92, 93], 4, null, "GPU", null],
      ["BlockRemoved", [z, y], "GPU"],
    ]);
  });

  it("a salt is an extra key of the first block, and no two prefixes have one name", () => {
    const { batches, events } = collected();
    const salted = group(0, undefined, "secret");
    events.stored(salted);
    events.stored(group(4, salted, "secret"));
    events.stored(group(0));
    events.stored(group(0, undefined, undefined, "other model"));
    events.flush();
    const [one, two, three] = batches[0]!;
    expect(one!.at(-1)).toEqual([["secret"], null]);
    const names = [one, two, three].flatMap((event) => event![1] as bigint[]);
    expect(new Set(names).size).toBe(4);
  });
});

describe("the publisher", () => {
  let endpoint: string;
  let replayEndpoint: string;
  beforeEach(async () => {
    endpoint = `tcp://127.0.0.1:${await freePort()}`;
    replayEndpoint = `tcp://127.0.0.1:${await freePort()}`;
  });

  it("sends numbered batches that a subscriber can ask for again", async () => {
    const subscriber = new Subscriber({ receiveTimeout: 5_000 });
    // As vLLM: an address without wildcard is called, so the subscriber listens.
    await subscriber.bind(endpoint);
    subscriber.subscribe("kv@a@m");
    const publisher = await openEventPublisher({ endpoint });
    const again = setInterval(() => publisher.publish("kv@a@m", [["AllBlocksCleared"]]), 20);
    const [topic, number, payload] = await subscriber.receive();
    clearInterval(again);
    expect([topic!.toString(), number!.length]).toEqual(["kv@a@m", 8]);
    const [time] = decode(payload!) as [number];
    expect(Math.abs(time - Date.now() / 1000)).toBeLessThan(10);
    await publisher.close();

    const second = await openEventPublisher({ endpoint, replayEndpoint, bufferSteps: 3 });
    const client = new Dealer({ receiveTimeout: 5_000 });
    client.connect(replayEndpoint);
    const ask = async (from: bigint) => {
      const start = Buffer.alloc(8);
      start.writeBigUInt64BE(from);
      await client.send([Buffer.alloc(0), start]);
      const numbers: bigint[] = [];
      for (;;) {
        const [, number, payload] = await client.receive();
        if (number!.readBigInt64BE() === -1n) return { numbers, end: payload!.length };
        numbers.push(number!.readBigInt64BE());
        expect(decode(payload!, { useBigInt64: true })).toEqual([
          expect.any(Number),
          [["AllBlocksCleared"]],
          0,
        ]);
      }
    };
    expect(await ask(0n)).toEqual({ numbers: [], end: 0 });
    for (let i = 0; i < 5; i++) second.publish("kv@a@m", [["AllBlocksCleared"]]);
    second.publish("kvcache@a@m", [["TokensEvicted"]]);
    expect(await ask(0n)).toEqual({ numbers: [2n, 3n, 4n], end: 0 });
    expect(await ask(4n)).toEqual({ numbers: [4n], end: 0 });
    // What is no request is passed over.
    await client.send([Buffer.alloc(0), Buffer.alloc(3)]);
    expect(await ask(9n)).toEqual({ numbers: [], end: 0 });
    client.close();
    await second.close();
    subscriber.close();
  });

  it("refuses an address that is taken", async () => {
    const wildcard = endpoint.replace("127.0.0.1", "*");
    const publisher = await openEventPublisher({ endpoint: wildcard });
    await expect(openEventPublisher({ endpoint: wildcard })).rejects.toMatchObject({
      code: "invalid-argument",
    });
    await publisher.close();
  });
});

describe("a server with events", () => {
  const numberOf = (frame: Buffer) => Number(frame.readBigUInt64BE());
  let events: ModelEvents;
  let subscriber: Subscriber;
  const received: { topic: string; number: number; events: unknown[][] }[] = [];

  afterEach(() => subscriber.close());

  it("a subscriber knows exactly which blocks the index holds", async () => {
    const port = await freePort();
    events = await openModelEvents({
      endpoint: `tcp://*:${port}`,
      id: "pod",
      model: "tiny",
      index: 0,
      blockSize: 16,
    });
    subscriber = new Subscriber();
    subscriber.connect(`tcp://127.0.0.1:${port}`);
    subscriber.subscribe();
    const listening = (async () => {
      for await (const [topic, number, payload] of subscriber) {
        const [, batch] = decode(payload!, { useBigInt64: true }) as [number, unknown[][]];
        received.push({ topic: topic!.toString(), number: numberOf(number!), events: batch });
      }
    })().catch(() => {});
    // Subscriptions travel; what came before them is replayed elsewhere.
    await new Promise((resolve) => setTimeout(resolve, 300));

    // Room for two prompts: prefixes come and go.
    const server = await startTestServer({
      kvMemory: 8 * 2 ** 20,
      watchPrefixes: events.watcher,
      onTrace: events.sink,
    });
    const text = "The quick brown fox jumps over the lazy dog. ".repeat(20);
    const kv = { policy: "snap-kv", budget: { ratio: 0.25 } };
    for (const [i, start] of [1, 2, 3, 1, 4, 2].entries()) {
      const body = { prompt: `${start} ${text}`, max_tokens: 2, ...(i % 2 ? { kv } : {}) };
      const { status } = await server.post("/v1/completions", { ...body, cache_salt: "s" });
      expect(status).toBe(200);
    }
    const { prefixBytes, arenas } = server.run.cache.stats();
    const rows = 8 * 3;
    await new Promise((resolve) => setTimeout(resolve, 300));

    const announced = new Set<unknown>();
    let numRemoved = 0;
    const own = received.filter(({ topic }) => topic === "kv@pod@tiny");
    expect(own.map(({ number }) => number)).toEqual(own.map((_, i) => own[0]!.number + i));
    for (const [name, hashes, parent, tokens, size] of own.flatMap((batch) => batch.events)) {
      if (name === "BlockStored") {
        expect([size, (tokens as number[]).length]).toEqual([16, 16 * (hashes as []).length]);
        if (parent !== null) expect(announced.has(parent)).toBe(true);
        for (const hash of hashes as unknown[]) announced.add(hash);
      } else if (name === "BlockRemoved")
        for (const hash of hashes as unknown[]) {
          expect(announced.delete(hash)).toBe(true);
          numRemoved++;
        }
      else expect(name).toBe("AllBlocksCleared");
    }
    expect(numRemoved).toBeGreaterThan(0);
    expect(announced.size * rows * arenas[0]!.blockBytes).toBe(prefixBytes);
    const evictions = received.filter(({ topic }) => topic === "kvcache@pod@tiny");
    expect(evictions[0]!.events[0]!.slice(0, 1)).toEqual(["TokensEvicted"]);

    await events.close();
    await vi.waitFor(() => expect(received.at(-1)!.events).toEqual([["AllBlocksCleared"]]));
    await server.close();
    subscriber.close();
    await listening;
  });
});
