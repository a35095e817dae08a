import { cacheLayout, type PrefixKey } from "@kvcache/core";
import { createPagedCache } from "@kvcache/paged";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { type GuardedStore, guardStore } from "./guarded-store.ts";
import { createStoreTier, type StoreWatcher } from "./store-tier.ts";
import { createTestStore, type TestStore } from "./test-store.ts";

/** 256 tokens a value. */
const CHUNK = 256;
const layout = cacheLayout(
  { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 2 },
  { blockSize: 16 },
);
const cache = createPagedCache({ layout, numBlocks: 1, maxTokensPerSequence: 16 });
const groupBytes = cache.prefixes.exchange!.groupBytes;
const keyOf = (tokens: number, namespace = "m"): PrefixKey => ({
  namespace,
  tokenIds: Int32Array.from({ length: tokens }, (_, i) => i),
});
/** Bytes that tell which tokens they are. */
const read = (start: number, stop: number) =>
  new Uint8Array(((stop - start) / 16) * groupBytes).fill(start / 16);

let store: TestStore;
let guarded: GuardedStore;
let seen: Record<string, number>;
const add = (what: string, n = 1) => {
  seen[what] = (seen[what] ?? 0) + n;
};
const watcher: StoreWatcher = {
  looked: (tokens, found) => {
    add("asked", tokens);
    add("found", found);
  },
  moved: (direction, bytes) => add(direction, bytes),
  dropped: (reason) => add(reason),
  failed: () => add("failed"),
  took: (operation) => add(operation),
  queued: () => {},
};
const tierOf = (maxQueueBytes = 2 ** 30, maxWaitMs = 5_000) =>
  createStoreTier({ store: guarded, cache, maxQueueBytes, maxWaitMs, watcher });

beforeEach(() => {
  seen = {};
  store = createTestStore();
  guarded = guardStore(store, { timeoutMs: 50, maxFailures: 2, retryMs: 10 });
});
afterEach(() => guarded.close());

/** What a fetch hands over: start of each piece, and its first byte. */
async function fetched(tier: ReturnType<typeof tierOf>, key: PrefixKey, known: number, room = 1e9) {
  const got: [number, number][] = [];
  const waiting = tier.fetch(key, known, key.tokenIds.length, async (start, bytes) => {
    got.push([start, bytes[0]!]);
    return Math.min(room, start + (bytes.length / groupBytes) * 16);
  });
  await waiting;
  return { waited: waiting !== undefined, got };
}

it("writes whole chunks behind the caller's back, once, and hands them over in order", async () => {
  const tier = tierOf();
  const key = keyOf(6 * CHUNK + 40);
  tier.offer(key, read);
  tier.offer(key, read);
  expect(store.calls).toBe(0);
  await tier.flush();
  expect(store.values.size).toBe(6);
  const { calls } = store;
  tier.offer(key, read);
  await tier.flush();
  expect(store.calls).toBe(calls);

  const all = [0, 1, 2, 3, 4, 5].map((i) => [i * CHUNK, i * 16]);
  const other = tierOf();
  expect(await fetched(other, key, 0)).toEqual({ waited: true, got: all });
  // What is known already is not asked for; a chunk that is known in part is.
  expect((await fetched(other, key, 2 * CHUNK + 16)).got).toEqual(all.slice(2));
  expect((await fetched(other, key, 6 * CHUNK)).waited).toBe(false);
  expect((await fetched(other, keyOf(6 * CHUNK, "salted"), 0)).got).toEqual([]);
  // The cache has no more room: no more is taken.
  expect((await fetched(other, key, 0, CHUNK + 32)).got).toEqual(all.slice(0, 2));
  expect(seen.asked).toBe(6 * CHUNK + (4 * CHUNK - 16) + 6 * CHUNK + 6 * CHUNK);
  expect(seen.found).toBe(6 * CHUNK + (4 * CHUNK - 16) + CHUNK + 32);
});

it("stops at the first chunk that is gone or damaged, and writes that anew", async () => {
  const tier = tierOf();
  const key = keyOf(4 * CHUNK);
  tier.offer(key, read);
  await tier.flush();
  const names = [...store.values.keys()];
  store.values.get(names[2]!)![500]! ^= 1;
  expect((await fetched(tier, key, 0)).got).toHaveLength(2);
  expect(seen.damaged).toBe(1);
  store.values.delete(names[1]!);
  expect((await fetched(tier, key, 0)).got).toHaveLength(1);
  // As after computing it here.
  tier.offer(key, read);
  await tier.flush();
  expect((await fetched(tier, key, 0)).got).toHaveLength(4);
});

it("drops what the queue cannot take, what the cache gave up, and what the store refuses", async () => {
  const tier = tierOf(2 * 16 * groupBytes);
  tier.offer(keyOf(4 * CHUNK), read);
  await tier.flush();
  expect([store.values.size, seen.queue_full]).toEqual([2, 2]);
  tier.offer(keyOf(CHUNK, "gone"), () => undefined);
  await tier.flush();
  expect([store.values.size, seen.evicted]).toEqual([2, 1]);
  store.trouble = "full";
  tier.offer(keyOf(CHUNK, "full"), read);
  await tier.flush();
  expect([store.values.size, seen.store_full, guarded.up]).toEqual([2, 1, true]);
});

it("a compressed prompt comes back whole, or not at all", async () => {
  const tier = tierOf();
  const key = keyOf(100);
  // Three parts.
  const bytes = Uint8Array.from({ length: 5 * 2 ** 20 }, (_, i) => i * 31 + (i >> 8));
  tier.offerCompressed(key, "plan", bytes.length, async () => bytes);
  await tier.flush();
  expect(store.values.size).toBe(3);
  expect(Math.max(...[...store.values.values()].map(({ length }) => length))).toBeLessThan(2.1e6);
  const whole = async (plan: string, takes = true) => {
    let got: Uint8Array | undefined;
    const found = await tierOf().fetchCompressed(key, plan, async (content) => {
      got = content;
      return takes;
    });
    return { found, same: got && Buffer.compare(got, bytes) === 0 };
  };
  expect(await whole("plan")).toEqual({ found: true, same: true });
  expect(await whole("other plan")).toEqual({ found: false, same: undefined });
  expect(await whole("plan", false)).toEqual({ found: false, same: true });
  expect(seen).toMatchObject({ asked: 100, found: 100 });
  const last = [...store.values.keys()].find((name) => name.endsWith(":2"))!;
  store.values.delete(last);
  expect(await whole("plan")).toEqual({ found: false, same: undefined });

  const small = Uint8Array.of(1, 2, 3);
  tier.offerCompressed(key, "small", 3, async () => small);
  tier.offerCompressed(key, "gone", 3, async () => undefined);
  tier.offerCompressed(key, "broken", 3, () => Promise.reject(new Error("disposed")));
  await tier.flush();
  let got: Uint8Array | undefined;
  await tier.fetchCompressed(key, "small", async (content) => {
    got = content;
    return true;
  });
  expect([...got!]).toEqual([1, 2, 3]);
  expect(seen).toMatchObject({ evicted: 1, failed: 1 });
});

it("a slow store is used for as long as a request may wait", async () => {
  const key = keyOf(20 * CHUNK);
  const tier = tierOf();
  tier.offer(key, read);
  await tier.flush();
  store.delay = 20;
  const { got } = await fetched(tierOf(2 ** 30, 50), key, 0);
  expect(got.length).toBeGreaterThanOrEqual(4);
  expect(got.length).toBeLessThan(20);
  expect((await fetched(tierOf(), key, 0)).got).toHaveLength(20);
});

it("without its store nobody waits and nothing throws; when it is back it is filled again", async () => {
  const tier = tierOf();
  const key = keyOf(2 * CHUNK);
  tier.offer(key, read);
  await tier.flush();
  store.trouble = "hangs";
  const began = performance.now();
  for (let i = 0; i < 3; i++) expect((await fetched(tier, key, 0)).got).toEqual([]);
  expect(performance.now() - began).toBeLessThan(1_000);
  expect(guarded.up).toBe(false);
  expect((await fetched(tier, key, 0)).waited).toBe(false);
  tier.offer(keyOf(CHUNK, "lost"), read);
  await tier.flush();
  expect(seen).toMatchObject({ failed: 2, away: 1 });
  expect(tier.fetchCompressed(key, "plan", async () => true)).toBeUndefined();
  // It comes back empty.
  store.values.clear();
  store.trouble = "none";
  await vi.waitFor(() => expect(guarded.up).toBe(true));
  tier.offer(key, read);
  await tier.flush();
  expect(store.values.size).toBe(2);
});
