import { connect } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterAll, beforeAll, expect, it } from "vitest";
import { guardStore } from "../kv-store/guarded-store.ts";
import { createTestStore } from "../kv-store/test-store.ts";
import { createRandom, type Random } from "./fuzz/random.ts";
import { startTestServer, type TestServer } from "./test-server.ts";

const isSlow = process.env.KVCACHE_SLOW_TESTS === "1";
const count = isSlow ? 1_000 : 60;
const IN_FLIGHT = 12;
/** RSS may drift so much after the first third. */
const MAX_DRIFT = 0.05;

let server: TestServer;
/** Prefixes come from a store and go to it, which refuses, hangs or forgets from time to time. */
const store = createTestStore();
const guarded = guardStore(store, { timeoutMs: 50, maxFailures: 3, retryMs: 50 });
let weather: NodeJS.Timeout;
beforeAll(async () => {
  server = await startTestServer({
    kvMemory: 2 ** 25,
    maxSequences: 8,
    maxQueue: 2,
    store: guarded,
  });
  const random = createRandom(7);
  weather = setInterval(() => {
    store.trouble = random.pick(["none", "none", "none", "refuses", "hangs", "full"]);
    if (random.chance(0.3)) store.values.clear();
  }, 200);
});
afterAll(async () => {
  clearInterval(weather);
  await server.close();
  await guarded.close();
});

const policies = ["full", "snap-kv(window=16)", "ada-kv", "streaming-llm", "h2o", "knorm"];
const sentence = "The quick brown fox jumps over the lazy dog, and the lazy dog sleeps on. ";

const kvOf = (policy: string, random: Random) => ({
  policy,
  budget: { ratio: 0.2 + random.unit() * 0.8 },
  ...(random.chance(0.3) ? { compressAfter: 12 } : {}),
});

function bodyOf(random: Random) {
  const policy = random.pick(policies);
  return {
    prompt: `${random.below(6)} ${sentence.repeat(1 + random.below(12))}`,
    max_tokens: 1 + random.below(40),
    n: random.chance(0.1) ? 2 : 1,
    seed: random.below(1000),
    temperature: random.pick([0, 0.8]),
    ignore_eos: true,
    stream: random.chance(0.5),
    ...(policy === "full" ? {} : { kv: kvOf(policy, random) }),
  };
}

const statuses = new Map<number | string, number>();
const note = (what: number | string) => void statuses.set(what, (statuses.get(what) ?? 0) + 1);

/** A client that asks until it has its answer, or leaves at a random moment. */
async function asks(random: Random): Promise<void> {
  const left = new AbortController();
  const leaves = random.chance(0.25);
  if (leaves) setTimeout(() => left.abort(), random.below(400));
  const signal = AbortSignal.any([left.signal, AbortSignal.timeout(60_000)]);
  const body = JSON.stringify(bodyOf(random));
  while ((await asksOnce(body, left.signal, signal)) === 429) await sleep(50);
}

async function asksOnce(
  body: string,
  left: AbortSignal,
  signal: AbortSignal,
): Promise<number | undefined> {
  try {
    const response = await fetch(`${server.url}/v1/completions`, {
      method: "POST",
      headers: { "content-type": "application/json" },
      body,
      signal,
    });
    const answer = await response.text();
    if (response.status === 200 && !/"finish_reason":"(stop|length)"/.test(answer)) note("cut");
    else note(response.status === 400 ? answer : response.status);
    return response.status;
  } catch (error) {
    note(left.aborted ? "left" : `unanswered: ${error}`);
    return undefined;
  }
}

/** A socket that sends a request, or half of it, and then reads slowly, or never, or dies. */
async function halfOpen(random: Random): Promise<void> {
  const body = JSON.stringify({ ...bodyOf(random), stream: true });
  const request = `POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
  const socket = connect({ port: Number(new URL(server.url).port), host: "127.0.0.1" });
  socket.on("error", () => {});
  socket.write(request.slice(0, random.chance(0.3) ? random.below(request.length) : undefined));
  socket.pause();
  await sleep(random.below(500));
  if (random.chance(0.5)) {
    socket.resume();
    await sleep(random.below(100));
  }
  socket.destroy();
  note("half-open");
}

const idle = () => {
  const { running, waiting } = server.run.engine.stats();
  return running + waiting === 0;
};

setFlagsFromString("--expose-gc");
const collect: () => void = runInNewContext("gc");

/** Of the process, after a collection. */
const residentBytes = () => {
  collect();
  return process.memoryUsage().rss;
};

it(`${count} requests of all kinds leave no block, no answer and no memory behind`, {
  timeout: 120_000 + count * 1000,
}, async () => {
  const random = createRandom(20);
  let left = count;
  let warm: number | undefined;
  const client = async () => {
    while (left-- > 0) {
      const own = createRandom(random.below(2 ** 32));
      await (own.chance(0.1) ? halfOpen(own) : asks(own));
      if (warm === undefined && left < (count * 2) / 3) warm = residentBytes();
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, client));
  for (let waited = 0; !idle() && waited < 20_000; waited += 20) await sleep(20);
  expect(idle()).toBe(true);

  const known = ["left", "half-open", 200, 429];
  expect([...statuses.keys()].filter((what) => !known.includes(what))).toEqual([]);
  expect(statuses.get(200)).toBeGreaterThan(count / 4);
  expect(store.calls).toBeGreaterThan(count / 4);
  const { arenas, sequences, residentTokens } = server.run.cache.stats();
  expect([sequences, residentTokens]).toEqual([0, 0]);
  for (const arena of arenas) {
    expect(arena.freeBlocks + arena.reclaimableBlocks).toBe(arena.totalBlocks);
    expect(arena.reservedBlocks).toBe(0);
  }
  server.run.cache.prefixes.clear();
  for (const arena of server.run.cache.stats().arenas)
    expect(arena.freeBlocks).toBe(arena.totalBlocks);
  if (isSlow) {
    const grown = residentBytes() / warm! - 1;
    console.log(`soak: RSS ${(grown * 100).toFixed(1)} %, ${JSON.stringify([...statuses])}`);
    expect(grown).toBeLessThanOrEqual(MAX_DRIFT);
  }
});
