import type { PrefixGroup } from "@kvcache/core";
import fc from "fast-check";
import { expect, test } from "vitest";
import { codeOf, compactTo, smallLayout } from "./__fixtures__/small-cache.ts";
import { readRow, writeEntries } from "./entries.ts";
import { createPagedCache, type PagedCacheOptions } from "./paged-cache.ts";

const heads = 2;
const cacheOf = (options: Partial<PagedCacheOptions> = {}) =>
  createPagedCache({
    layout: smallLayout(heads),
    numBlocks: 8 * heads,
    maxTokensPerSequence: 32,
    ...options,
  });
type Cache = ReturnType<typeof cacheOf>;
const exchangeOf = (cache: Cache) => cache.prefixes.exchange!;
const ids = (length: number, first = 0) => Int32Array.from({ length }, (_, i) => first + i);
const key = (tokenIds: Int32Array, namespace = "model") => ({ namespace, tokenIds });

/** A prompt whose keys are token id and head, published and closed. */
function publish(cache: Cache, tokenIds: Int32Array): void {
  const sequence = cache.open();
  cache.append(sequence, tokenIds.length);
  for (let head = 0; head < heads; head++) {
    const keys = Float32Array.from({ length: 2 * tokenIds.length }, (_, i) =>
      i % 2 ? head : tokenIds[i >> 1]!,
    );
    writeEntries(cache, sequence, 0, head, keys);
  }
  cache.prefixes.publish(sequence, key(tokenIds), tokenIds.length);
  cache.close(sequence);
}

/** What a sequence that adopts the prompt's prefix sees: keys and positions of every head. */
function adopted(cache: Cache, tokenIds: Int32Array) {
  const sequence = cache.open();
  const tokens = cache.prefixes.adopt(sequence, key(tokenIds), tokenIds.length);
  const rows = Array.from({ length: heads }, (_, head) => {
    const { keys, values, positions } = readRow(cache, sequence, 0, head);
    return [[...keys], [...values], [...positions]];
  });
  cache.close(sequence);
  return { tokens, rows };
}

test("what one cache reads another writes: the same entries at the same positions", () => {
  const [a, b] = [cacheOf(), cacheOf()];
  const prompt = ids(14, 100);
  publish(a, prompt);
  const { read, groupBytes } = exchangeOf(a);
  // Two heads, four tokens, key and value of two floats.
  expect(groupBytes).toBe(2 * 4 * 2 * 2 * 4);
  const whole = read(key(prompt), 0, 12)!;
  expect(whole.length).toBe(3 * groupBytes);
  expect([...read(key(prompt), 4, 8)!]).toEqual([...whole.slice(groupBytes, 2 * groupBytes)]);

  expect(exchangeOf(b).write(key(prompt), 0, whole.subarray(0, groupBytes))).toBe(4);
  expect(exchangeOf(b).write(key(prompt), 4, whole.subarray(groupBytes))).toBe(12);
  expect(adopted(b, prompt)).toEqual(adopted(a, prompt));
  // Nobody holds it: all of it can be reclaimed.
  const [arena] = b.stats().arenas;
  expect(arena).toMatchObject({ freeBlocks: 10, reclaimableBlocks: 6 });
  // Again changes nothing.
  expect(exchangeOf(b).write(key(prompt), 0, whole)).toBe(12);
  expect(b.stats().arenas[0]).toEqual(arena);
  b.prefixes.clear();
  expect(b.stats().arenas[0]).toMatchObject({ freeBlocks: 16, reclaimableBlocks: 0 });
});

test("reads nothing that the index does not hold, writes nothing without what comes before", () => {
  const cache = cacheOf();
  const prompt = ids(8);
  publish(cache, prompt);
  const { read, write } = exchangeOf(cache);
  expect(read(key(ids(12)), 0, 12)).toBeUndefined();
  expect(read(key(prompt, "other"), 0, 4)).toBeUndefined();
  const group = read(key(prompt), 0, 4)!;
  expect(write(key(ids(12, 50)), 4, group)).toBe(0);
  expect(cache.prefixes.lookup(key(ids(12, 50)), 12)).toBe(0);
  expect(codeOf(() => write(key(prompt), 0, group.subarray(1)))).toBe("invalid-argument");
  expect(codeOf(() => write(key(prompt), 8, group))).toBe("invalid-argument");
  expect(codeOf(() => write(key(prompt), 2, group))).toBe("invalid-argument");
});

test("takes neither blocks in use nor promised ones, and gives up old prefixes before its own", () => {
  const source = cacheOf();
  const prompt = ids(28);
  publish(source, prompt);
  const bytes = exchangeOf(source).read(key(prompt), 0, 28)!;

  const cache = cacheOf();
  publish(cache, ids(12, 500));
  const sequence = cache.open();
  cache.append(sequence, 16);
  cache.reserve(sequence, 12);
  // 8 groups, 4 in use: the old prefix of 3 gives way, what was promised can be reclaimed.
  expect(exchangeOf(cache).write(key(prompt), 0, bytes)).toBeLessThanOrEqual(16);
  expect(cache.prefixes.lookup(key(ids(12, 500)), 12)).toBe(0);
  expect(cache.prefixes.lookup(key(prompt), 28)).toBeGreaterThan(0);
  cache.append(sequence, 12);
  expect(cache.prefixes.lookup(key(prompt), 28)).toBeLessThanOrEqual(4);
  cache.append(sequence, 4);
  // Everything is in use.
  expect(exchangeOf(cache).write(key(prompt), 0, bytes)).toBe(0);
  cache.close(sequence);

  const capped = cacheOf({ prefixBytes: 2 * exchangeOf(cache).groupBytes });
  expect(exchangeOf(capped).write(key(prompt), 0, bytes)).toBeLessThanOrEqual(8);
  expect(capped.stats().prefixBytes).toBeLessThanOrEqual(2 * exchangeOf(cache).groupBytes);
});

test("tells watchers of groups that came from elsewhere", () => {
  const source = cacheOf();
  publish(source, ids(8));
  const stored: PrefixGroup[] = [];
  const cache = cacheOf({ watchPrefixes: { stored: (g) => void stored.push(g), removed() {} } });
  exchangeOf(cache).write(
    { ...key(ids(8)), salt: "s" },
    0,
    exchangeOf(source).read(key(ids(8)), 0, 8)!,
  );
  expect(stored.map(({ tokenIds, salt }) => [[...tokenIds], salt])).toEqual([
    [[0, 1, 2, 3], "s"],
    [[4, 5, 6, 7], "s"],
  ]);
  expect(stored[1]!.parent).toBe(stored[0]);
});

test("a compressed prompt travels whole: lengths, positions, window, next position", async () => {
  const [a, b] = [cacheOf({ windowSize: 2 }), cacheOf({ windowSize: 2 })];
  const prompt = ids(14);
  const sequence = a.open();
  a.append(sequence, 14);
  for (let head = 0; head < heads; head++)
    writeEntries(
      a,
      sequence,
      0,
      head,
      Float32Array.from({ length: 28 }, (_, i) => i + head),
    );
  await compactTo(a, sequence, [
    [0, 3, 7, 8, 13],
    [1, 13],
  ]);
  a.prefixes.publishCompressed(sequence, key(prompt), "plan");
  a.close(sequence);
  const bytes = exchangeOf(a).readCompressed(key(prompt), "plan")!;
  expect(a.stats().sequences).toBe(0);
  expect(exchangeOf(a).readCompressed(key(prompt), "other plan")).toBeUndefined();
  expect(exchangeOf(a).readCompressed(key(ids(13)), "plan")).toBeUndefined();

  expect(exchangeOf(b).hasCompressed(key(prompt), "plan")).toBe(false);
  expect(exchangeOf(b).writeCompressed(key(prompt), "plan", bytes)).toBe(true);
  expect(exchangeOf(b).hasCompressed(key(prompt), "plan")).toBe(true);
  const rowsOf = (cache: Cache) => {
    const own = cache.open();
    expect(cache.prefixes.adoptCompressed(own, key(prompt), "plan")).toBe(true);
    const { lengths, nextPosition } = cache.sequenceStats(own);
    const rows = [0, 1].map((head) => {
      const { keys, positions } = readRow(cache, own, 0, head);
      return [[...keys], [...positions]];
    });
    cache.close(own);
    return { lengths: [...lengths], nextPosition, rows };
  };
  expect(rowsOf(b)).toEqual(rowsOf(a));
  expect(rowsOf(b)).toMatchObject({ lengths: [5, 2], nextPosition: 14 });

  bytes[bytes.length - 1]! ^= 1;
  b.prefixes.clear();
  expect(codeOf(() => exchangeOf(b).writeCompressed(key(prompt), "plan", bytes))).toBe(
    "invalid-file",
  );
  bytes[bytes.length - 1]! ^= 1;
  // Without a slot, or blocks, nothing happens.
  const full = cacheOf({ windowSize: 2, maxSequences: 1 });
  const only = full.open();
  expect(exchangeOf(full).writeCompressed(key(prompt), "plan", bytes)).toBe(false);
  full.close(only);
  const small = cacheOf({ windowSize: 2, numBlocks: 2 });
  expect(exchangeOf(small).writeCompressed(key(prompt), "plan", bytes)).toBe(false);
  expect(small.stats()).toMatchObject({ sequences: 0, prefixBytes: 0 });
});

test("contents on a device are not exchanged", () => {
  const memory = () => ({}) as never;
  expect(cacheOf({ memory }).prefixes.exchange).toBeUndefined();
});

test("after any mixture of prompts every block is free or reclaimable, and entries are right", () => {
  const source = cacheOf({ numBlocks: 64 });
  const prompts = [ids(28), Int32Array.of(...ids(8), ...ids(20, 90)), ids(16, 300)];
  for (const prompt of prompts) publish(source, prompt);
  const step = fc.record({
    prompt: fc.constantFrom(...prompts),
    start: fc.nat(6),
    groups: fc.integer({ min: 1, max: 7 }),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 12 }), fc.integer({ min: 1, max: 8 }), (steps, n) => {
      const cache = cacheOf({ numBlocks: n * heads });
      for (const { prompt, start, groups } of steps) {
        const stop = Math.min(start + groups, prompt.length / 4) * 4;
        const bytes = exchangeOf(source).read(key(prompt), start * 4, Math.max(start * 4, stop))!;
        if (start * 4 > prompt.length) continue;
        const known = exchangeOf(cache).write(key(prompt), start * 4, bytes);
        expect(cache.prefixes.lookup(key(prompt), 28)).toBeGreaterThanOrEqual(known);
        const { rows, tokens } = adopted(cache, prompt);
        const wanted = adopted(source, prompt.subarray(0, tokens)).rows;
        expect(rows).toEqual(wanted);
      }
      const { freeBlocks, reclaimableBlocks } = cache.stats().arenas[0]!;
      expect(freeBlocks + reclaimableBlocks).toBe(n * heads);
      cache.prefixes.clear();
      expect(cache.stats().arenas[0]!.freeBlocks).toBe(n * heads);
    }),
    { numRuns: 60 },
  );
});
