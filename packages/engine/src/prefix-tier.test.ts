import type { PrefixKey } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import type { PrefixTier } from "./prefix-tier.ts";
import { createWorld, promptOf, testPlan, type WorldOptions } from "./test-world.ts";

const BLOCK = 4;
const nameOf = ({ namespace, tokenIds }: PrefixKey, stop: number) =>
  `${namespace}:${tokenIds.slice(0, stop)}`;

/** A tier in memory, block by block; `pause` holds back whoever fetches. */
function memoryTier() {
  const groups = new Map<string, Uint8Array>();
  const compressed = new Map<string, Uint8Array>();
  let pending: Promise<unknown> = Promise.resolve();
  const entryOf = (key: PrefixKey, plan: string) => `${nameOf(key, key.tokenIds.length)}:${plan}`;
  let gate: Promise<void> = Promise.resolve();
  const tier: PrefixTier = {
    fetch(key, known, limit, write) {
      if (!groups.has(nameOf(key, known + BLOCK))) return undefined;
      return gate.then(async () => {
        for (let start = known; start + BLOCK <= limit; start += BLOCK) {
          const bytes = groups.get(nameOf(key, start + BLOCK));
          if (!bytes || (await write(start, bytes)) < start + BLOCK) return;
        }
      });
    },
    offer(key, read) {
      for (let start = 0; start + BLOCK <= key.tokenIds.length; start += BLOCK) {
        const bytes = read(start, start + BLOCK);
        if (bytes) groups.set(nameOf(key, start + BLOCK), bytes);
      }
    },
    fetchCompressed(key, plan, write) {
      const bytes = compressed.get(entryOf(key, plan));
      return bytes && gate.then(() => write(bytes));
    },
    offerCompressed(key, plan, _, read) {
      pending = read().then((bytes) => bytes && compressed.set(entryOf(key, plan), bytes));
    },
  };
  function pause(): () => void {
    let open = () => {};
    gate = new Promise((resolve) => {
      open = resolve;
    });
    return open;
  }
  return { tier, groups, compressed, pause, flush: () => pending };
}

const engineOf = async (prefixTier?: PrefixTier, options: WorldOptions = {}) => {
  const world = createWorld(options);
  return { world, engine: await createEngine({ ...world, prefixTier }) };
};

const prompt = promptOf(1, 41);

describe("a prefix tier", () => {
  it("lets one engine start from what another computed, to the same tokens", async () => {
    const { tier } = memoryTier();
    const a = await engineOf(tier);
    const b = await engineOf(tier);
    const alone = await engineOf();
    const request = { prompt: [...prompt, ...promptOf(2, 7)], maxTokens: 6 };
    await a.engine.generate({ prompt, maxTokens: 2 }).result;
    const there = await b.engine.generate(request).result;
    expect(there.usage.cachedTokens).toBe(40);
    expect(there.tokenIds).toEqual((await alone.engine.generate(request).result).tokenIds);
    // Another salt finds nothing; several choices fetch once.
    const salted = await b.engine.generate({ ...request, cacheSalt: "s" }).result;
    expect(salted.usage.cachedTokens).toBe(0);
    for (const { engine } of [a, b, alone]) await engine.dispose();
    expect(b.world.cache.stats().sequences).toBe(0);
    expect(b.world.cache.stats().prefixBytes).toBe(0);
  });

  it("stops before the observation window, and is not asked by plans that gather sums", async () => {
    const { tier } = memoryTier();
    const a = await engineOf(tier);
    await a.engine.generate({ prompt, maxTokens: 2 }).result;
    const cachedWith = async (needs: Parameters<typeof testPlan>[1]) => {
      const { engine } = await engineOf(tier);
      const { usage } = await engine.generate({ prompt, maxTokens: 3, plan: testPlan(10, needs) })
        .result;
      await engine.dispose();
      return usage.cachedTokens;
    };
    expect(await cachedWith({ needs: [{ kind: "windowQueries", window: 6 }] })).toBe(32);
    const sums = { kind: "attentionSums", power: 1, phase: "all" } as const;
    expect(await cachedWith({ needs: [sums] })).toBe(0);
    await a.engine.dispose();
  });

  it("lets one engine go on from what another compressed, under the same plan only", async () => {
    const { tier, compressed, groups, flush } = memoryTier();
    const a = await engineOf(tier);
    const plan = testPlan(10, { needs: [{ kind: "windowQueries", window: 6 }] });
    const request = { prompt, maxTokens: 5, plan, compressAfter: 30 };
    const here = await a.engine.generate(request).result;
    await flush();
    expect(compressed.size).toBe(1);
    groups.clear();
    const b = await engineOf(tier);
    const there = await b.engine.generate(request).result;
    expect(there.usage.cachedTokens).toBe(30);
    expect(there.tokenIds).toEqual(here.tokenIds);
    // Where it was fetched it stays: nothing is fetched again.
    compressed.clear();
    const again = await b.engine.generate({ ...request, prompt: [...prompt, 3] }).result;
    expect(again.usage.cachedTokens).toBe(30);
    const c = await engineOf(tier);
    const other = testPlan(12, { needs: [{ kind: "windowQueries", window: 6 }] });
    const others = await c.engine.generate({ ...request, plan: other }).result;
    expect(others.usage.cachedTokens).toBe(0);
    for (const { engine, world } of [a, b, c]) {
      await engine.dispose();
      expect(world.cache.stats()).toMatchObject({ sequences: 0, prefixBytes: 0 });
    }
  });

  it("keeps a request waiting, which can be aborted meanwhile, and others not", async () => {
    const { tier, pause } = memoryTier();
    const { engine } = await engineOf(tier);
    await engine.generate({ prompt, maxTokens: 2 }).result;
    const b = await engineOf(tier);
    const open = pause();
    const left = new AbortController();
    const aborted = b.engine.generate({ prompt, maxTokens: 2, n: 2, signal: left.signal });
    const waiting = b.engine.generate({ prompt, maxTokens: 2 });
    expect(b.engine.stats().waiting).toBe(2);
    const other = await b.engine.generate({ prompt: promptOf(9, 12), maxTokens: 2 }).result;
    expect(other.tokenIds).toHaveLength(2);
    left.abort();
    const { choices } = await aborted.result;
    expect(choices.map(({ finishReason }) => finishReason)).toEqual(["abort", "abort"]);
    open();
    expect((await waiting.result).usage.cachedTokens).toBe(40);
    await b.engine.dispose();
    await engine.dispose();
  });

  it("does not hold up an engine that is disposed", async () => {
    const { tier, pause } = memoryTier();
    const a = await engineOf(tier);
    await a.engine.generate({ prompt, maxTokens: 2 }).result;
    await a.engine.dispose();
    const b = await engineOf(tier);
    const open = pause();
    const waiting = b.engine.generate({ prompt, maxTokens: 2 }).result;
    await b.engine.dispose();
    await expect(waiting).rejects.toMatchObject({ code: "disposed" });
    open();
    await Promise.resolve();
    expect(b.world.cache.stats().sequences).toBe(0);
  });

  it("that breaks its promise and rejects costs the request nothing", async () => {
    const { tier } = memoryTier();
    const broken = { ...tier, fetch: () => Promise.reject(new Error("unplugged")) };
    const { engine } = await engineOf(broken);
    const { tokenIds } = await engine.generate({ prompt, maxTokens: 3 }).result;
    expect(tokenIds).toHaveLength(3);
    await engine.dispose();
  });

  it("is refused where nothing is kept that could be exchanged", async () => {
    const { tier } = memoryTier();
    const refused = createEngine({ ...createWorld(), prefixCache: false, prefixTier: tier });
    await expect(refused).rejects.toMatchObject({ code: "unsupported" });
  });
});
