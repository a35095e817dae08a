import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import {
  freePort,
  hasServices,
  type Service,
  startNginx,
  startRedis,
  startReplica,
} from "../test-services.ts";

const document = Array.from({ length: 60 }, (_, i) => `Fact ${i} is about number ${i * 7}.`);

interface Answered {
  readonly status: number;
  readonly servedBy: string | null;
  readonly text: string;
  readonly cached: number;
}

async function ask(port: number, prompt: string, key = "k", more: object = {}): Promise<Answered> {
  const response = await fetch(`http://127.0.0.1:${port}/v1/completions`, {
    method: "POST",
    headers: { "content-type": "application/json", "x-prefix-key": key },
    body: JSON.stringify({ prompt, max_tokens: 12, temperature: 0, ignore_eos: true, ...more }),
  });
  const { status, headers } = response;
  const { choices, usage } = (await response.json()) as {
    choices?: { text: string }[];
    usage?: { prompt_tokens_details: { cached_tokens: number } };
  };
  return {
    status,
    servedBy: headers.get("x-served-by"),
    text: choices?.[0]?.text ?? "",
    cached: usage?.prompt_tokens_details.cached_tokens ?? -1,
  };
}

/** The value of a metric of one replica. */
async function metric(port: number, name: string): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${port}/metrics`)).text();
  const line = text.split("\n").find((one) => one.startsWith(`${name}{`));
  return Number(line?.split(" ").at(-1) ?? Number.NaN);
}

/** Two replicas, the store that they share, nginx before them: all of deploy/ on one machine. */
describe.runIf(hasServices("redis", "nginx"))("two replicas, a store and nginx", () => {
  const promptOf = (about: string) => `${about}: ${document.join(" ")} So`;
  let redisPort: number;
  let options: readonly string[];
  let redis: Service;
  let a: Service;
  let b: Service;
  let front: Service;

  beforeAll(async () => {
    redisPort = await freePort();
    redis = await startRedis(redisPort);
    const store = `redis://127.0.0.1:${redisPort}`;
    options = ["--kv-store", store, "--threads", "1", "--policies", "snap-kv"];
    [a, b] = await Promise.all([
      startReplica(options, await freePort()),
      startReplica(options, await freePort()),
    ]);
    front = await startNginx([a.port, b.port]);
  }, 120_000);
  afterAll(() => Promise.all([front, a, b, redis].map((one) => one?.kill())));

  const stored = (port: number) =>
    vi.waitFor(async () => {
      expect(await metric(port, "kvcache:store_bytes_total")).toBeGreaterThan(0);
      expect(await metric(port, "kvcache:store_queue_bytes")).toBe(0);
    }, 20_000);

  /** An answer through nginx from this replica that has begun; resolves to how it ends. */
  async function streamFrom(port: number): Promise<{ ends: Promise<"whole" | "broken"> }> {
    for (let i = 0; ; i++) {
      const response = await fetch(`http://127.0.0.1:${front.port}/v1/completions`, {
        method: "POST",
        headers: { "content-type": "application/json", "x-prefix-key": `stream ${i}` },
        body: JSON.stringify({ prompt: "Hi", max_tokens: 400, ignore_eos: true, stream: true }),
      });
      const reader = response.body!.getReader();
      await reader.read();
      if (!response.headers.get("x-served-by")?.endsWith(`:${port}`)) {
        await reader.cancel();
        continue;
      }
      const rest = async () => {
        let text = "";
        for (;;) {
          const { done, value } = await reader.read();
          if (done) return text.includes("[DONE]") ? "whole" : "broken";
          text += Buffer.from(value).toString();
        }
      };
      return { ends: rest().catch(() => "broken" as const) };
    }
  }

  it("what one computed the other reads, and answers the same", async () => {
    const first = await ask(a.port, promptOf("one"));
    expect(first).toMatchObject({ status: 200, cached: 0 });
    await stored(a.port);
    const second = await ask(b.port, promptOf("one"));
    expect(second.cached).toBeGreaterThanOrEqual(128);
    expect(second.text).toBe(first.text);
    expect(await metric(b.port, "vllm:external_prefix_cache_hits_total")).toBe(second.cached);
    const other = await ask(b.port, promptOf("one"), "k", { cache_salt: "other" });
    expect([other.cached, other.text]).toEqual([0, first.text]);
    // Compressed there, from what the store gave: as where it was computed.
    const kv = { policy: "snap-kv", budget: { ratio: 0.25 } };
    const there = await ask(b.port, promptOf("one"), "k", { kv });
    const here = await ask(a.port, promptOf("one"), "k", { kv });
    expect(there.text).toBe(here.text);
  });

  it("what one compressed the other goes on from, and answers the same", async () => {
    const kv = { policy: "snap-kv", budget: { ratio: 0.25 }, compressAfter: 200 };
    const written = await metric(a.port, "kvcache:store_seconds_count");
    const here = await ask(a.port, promptOf("hidden"), "k", { kv });
    expect(here.cached).toBe(0);
    // The prompt's two values, and the compressed one.
    await vi.waitFor(async () => {
      expect(await metric(a.port, "kvcache:store_seconds_count")).toBeGreaterThan(written);
      expect(await metric(a.port, "kvcache:store_queue_bytes")).toBe(0);
    }, 20_000);
    const there = await ask(b.port, promptOf("hidden"), "k", { kv });
    // No whole number of values: it is the compressed prompt that was read.
    expect([there.cached, there.text]).toEqual([200, here.text]);
    const other = { ...kv, budget: { ratio: 0.5 } };
    expect((await ask(b.port, promptOf("hidden"), "k", { kv: other })).cached).toBeLessThan(200);
  });

  it("nginx keeps keys on their replica", async () => {
    const short = (key: string) => ask(front.port, "Hello", key, { max_tokens: 1 });
    const keys = Array.from({ length: 16 }, (_, i) => `key ${i}`);
    const before = await Promise.all(keys.map(short));
    const after = await Promise.all(keys.map(short));
    expect(after.map(({ servedBy }) => servedBy)).toEqual(before.map(({ servedBy }) => servedBy));
    expect(new Set(before.map(({ servedBy }) => servedBy)).size).toBe(2);
    for (const path of ["metrics", "inspector", "inspector/events"])
      expect((await fetch(`http://127.0.0.1:${front.port}/${path}`)).status).toBe(404);
  });

  it("a replica that is killed costs no client its answer", async () => {
    const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`);
    const wanted = await ask(a.port, promptOf("two"));
    await stored(a.port);
    const stream = await streamFrom(a.port);
    const running = keys.map((key) => ask(front.port, promptOf("two"), key, { max_tokens: 40 }));
    await sleep(150);
    await a.kill();
    // What has begun breaks off, as a connection does: there is no end that looks like one.
    expect(await stream.ends).toBe("broken");
    const answers = await Promise.all(running);
    expect(answers.map(({ status }) => status)).toEqual(keys.map(() => 200));
    for (const { text } of answers) expect(text.startsWith(wanted.text)).toBe(true);
    // Some were asked twice, and the second replica did not begin from nothing.
    expect(answers.some(({ servedBy }) => servedBy?.includes(","))).toBe(true);
    const later = await Promise.all(keys.map((key) => ask(front.port, promptOf("two"), key)));
    for (const { status, text, cached } of later) {
      expect([status, text]).toEqual([200, wanted.text]);
      expect(cached).toBeGreaterThanOrEqual(128);
    }
  });

  it("a replica that drains ends what it began, and newcomers go to the other", async () => {
    a = await startReplica(options, a.port);
    const keys = Array.from({ length: 12 }, (_, i) => `key ${i}`);
    const askAll = () =>
      Promise.all(keys.map((key) => ask(front.port, "Hello", key, { max_tokens: 2 })));
    // nginx tries it again after some seconds, and trusts it once it has answered.
    await vi.waitFor(async () => {
      const own = (await askAll()).filter(({ servedBy }) => servedBy?.endsWith(`:${a.port}`));
      expect(own.length).toBeGreaterThan(1);
    }, 20_000);
    const { ends } = await streamFrom(a.port);
    const stopped = a.kill("SIGTERM");
    await vi.waitFor(async () => {
      const { status } = await fetch(`http://127.0.0.1:${a.port}/health`);
      expect(status).toBe(503);
    });
    const answers = await askAll();
    expect(answers.map(({ status }) => status)).toEqual(keys.map(() => 200));
    // It said 503 to some, and was no longer asked.
    expect(answers.some(({ servedBy }) => servedBy?.startsWith(`127.0.0.1:${a.port}, `))).toBe(
      true,
    );
    expect(await ends).toBe("whole");
    await stopped;
  });

  it("a store that is killed costs time only, and is used again when it is back", async () => {
    const wanted = await ask(b.port, promptOf("three"), "k", { cache_salt: "s" });
    await redis.kill();
    const asked = (i: number) => ask(b.port, promptOf("three"), "k", { cache_salt: `t${i}` });
    const answers = await Promise.all(Array.from({ length: 6 }, (_, i) => asked(i)));
    for (const { status, text } of answers) expect([status, text]).toEqual([200, wanted.text]);
    await vi.waitFor(async () => {
      await asked(99);
      expect(await metric(b.port, "kvcache:store_up")).toBe(0);
    }, 20_000);
    redis = await startRedis(redisPort);
    await vi.waitFor(async () => expect(await metric(b.port, "kvcache:store_up")).toBe(1), 40_000);
    const before = await metric(b.port, "kvcache:store_seconds_count");
    expect((await ask(b.port, promptOf("four"))).status).toBe(200);
    await vi.waitFor(async () => {
      expect(await metric(b.port, "kvcache:store_seconds_count")).toBeGreaterThan(before);
    }, 20_000);
  });
});
