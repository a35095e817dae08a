import { connect, createServer, type Socket } from "node:net";
import { KvCacheError } from "@kvcache/core";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { freePort, hasServices, type Service, startRedis } from "../test-services.ts";
import { StoreFullError } from "./block-store.ts";
import { guardStore } from "./guarded-store.ts";
import { createRedisStore, parseStoreUrl } from "./redis-store.ts";

it("takes addresses of Redis only, and repeats no password", () => {
  expect(parseStoreUrl("rediss://u:secret@host:1/2").hostname).toBe("host");
  for (const text of ["http://u:secret@host", "redis://", "secret", "host:6379"])
    try {
      parseStoreUrl(text);
      expect.unreachable();
    } catch (error) {
      expect(error).toBeInstanceOf(KvCacheError);
      expect(JSON.stringify(error) + (error as Error).message).not.toContain("secret");
    }
});

it("hides the password where it says what it is", async () => {
  const store = createRedisStore({ url: "redis://u:secret@127.0.0.1:1/2" });
  expect(store.description).toBe("redis://127.0.0.1:1/2");
  await expect(store.ping()).rejects.toThrow("ECONNREFUSED");
  await store.close();
});

describe.runIf(hasServices("redis"))("with a real server", () => {
  let port: number;
  let redis: Service;
  const open = (ttlSeconds?: number) =>
    createRedisStore({ url: `redis://127.0.0.1:${port}`, ttlSeconds });
  beforeAll(async () => {
    port = await freePort();
    redis = await startRedis(port, "--maxmemory", "16mb");
  });
  afterAll(() => redis.kill());

  it("gives back what it was given, in order", async () => {
    const store = open();
    const value = Uint8Array.from({ length: 2 ** 20 }, (_, i) => i * 7);
    await store.ping();
    await store.set("b", value);
    await store.set("empty", new Uint8Array(0));
    expect(await store.has(["a", "b", "empty"])).toEqual([false, true, true]);
    const [missing, found, empty] = await store.get(["a", "b", "empty"]);
    expect(missing).toBeUndefined();
    expect(Buffer.compare(found!, value)).toBe(0);
    expect(empty).toHaveLength(0);
    await store.close();
  });

  it("lets values go when their time is over", async () => {
    const store = open(1);
    await store.ping();
    await store.set("short", new Uint8Array(3));
    expect(await store.has(["short"])).toEqual([true]);
    await vi.waitFor(async () => expect(await store.has(["short"])).toEqual([false]), 5_000);
    await store.close();
  });

  it("says when it has no room", async () => {
    const store = open();
    await store.ping();
    const fill = async () => {
      for (let i = 0; i < 40; i++) await store.set(`fill${i}`, new Uint8Array(2 ** 20));
    };
    await expect(fill()).rejects.toThrow(StoreFullError);
    expect(await store.has(["fill0"])).toEqual([true]);
    await store.close();
  });

  it("leaves a connection that went silent without an end", async () => {
    let silent = false;
    // Stands between: its first connections can be made to swallow everything, like a host that left.
    const between = createServer((near) => {
      const far = connect(port, "127.0.0.1");
      const swallowed = () => silent && near === first;
      first ??= near;
      near.on("data", (data) => swallowed() || far.write(data)).on("error", () => {});
      far.on("data", (data) => swallowed() || near.write(data)).on("error", () => {});
      near.on("close", () => far.destroy());
    });
    let first: Socket | undefined;
    await new Promise<void>((resolve) => between.listen(0, "127.0.0.1", resolve));
    const { port: own } = between.address() as { port: number };
    const store = createRedisStore({ url: `redis://127.0.0.1:${own}`, silenceMs: 300 });
    const guarded = guardStore(store, { timeoutMs: 100, maxFailures: 2, retryMs: 20 });
    await guarded.connect();
    expect(await guarded.has(["a"])).toEqual([false]);
    silent = true;
    for (let i = 0; i < 2; i++) await expect(guarded.has(["a"])).rejects.toThrow("no answer");
    expect(guarded.up).toBe(false);
    await vi.waitFor(() => expect(guarded.up).toBe(true), 10_000);
    expect(await guarded.has(["a"])).toEqual([false]);
    await guarded.close();
    between.close();
  });

  it("is away while the server is, and back with it", async () => {
    const guarded = guardStore(open(), { timeoutMs: 500, maxFailures: 2, retryMs: 20 });
    await guarded.connect();
    expect(guarded.up).toBe(true);
    await redis.kill();
    await vi.waitFor(async () => {
      await guarded.has(["a"]).catch(() => {});
      expect(guarded.up).toBe(false);
    });
    redis = await startRedis(port);
    await vi.waitFor(() => expect(guarded.up).toBe(true), 20_000);
    await guarded.set("a", new Uint8Array(1));
    expect(await guarded.has(["a"])).toEqual([true]);
    await guarded.close();
  });
});
