import type { SwapSpace } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { createBlockAccount } from "./block-account.ts";
import { createMemorySwap } from "./swap-space.ts";
import { alone, type Setup, setUp, tick } from "./test-engine.ts";
import { createWorld, promptOf, testPlan } from "./test-world.ts";

const prudent = { watermark: 0, foresight: true };
const decoding = { prefill: true, interval: 6, pressure: false };

/** Runs prompts of 20 tokens to 40 generated ones, all at once. */
async function crowd(setup: Setup, plan = {}, size = 6) {
  const { engine, world } = await setUp(setup);
  const requests = Array.from({ length: size }, (_, i) => ({
    prompt: promptOf(i, 20),
    maxTokens: 40,
    stop: { ignoreEos: true },
    plan,
  }));
  let most = 0;
  const streams = requests.map((request) => engine.generate(request));
  for await (const _ of streams.at(-1)!) most = Math.max(most, engine.stats().running);
  const results = await Promise.all(streams.map(({ result }) => result));
  for (const [i, { tokenIds }] of results.entries())
    expect([...tokenIds]).toEqual(await alone(requests[i]!));
  const { preemptions } = engine.stats();
  expect(world.numHeldBlocks()).toBe(0);
  return { most, preempted: preemptions.recompute + preemptions.swap };
}

describe("admission", () => {
  it("leaves those who run the room that they will take", async () => {
    // 59 tokens are 15 block groups of 4 blocks.
    const numBlocks = 2 * 60 + 30;
    const without = await crowd({ numBlocks, scheduler: { watermark: 0 } });
    expect(without.preempted).toBeGreaterThan(0);
    expect(await crowd({ numBlocks, scheduler: prudent })).toEqual({ most: 2, preempted: 0 });
  });

  it("counts what compression will leave, not what a prompt takes before", async () => {
    // 8 kept and 6 more until the next event: at most 20 blocks each at the end.
    const plan = testPlan(8, { trigger: decoding });
    const { most, preempted } = await crowd({ numBlocks: 120, scheduler: prudent }, plan);
    expect(preempted).toBe(0);
    expect(most).toBeGreaterThanOrEqual(5);
  });

  it("guesses how long answers get from those that ended", async () => {
    const { engine } = await setUp({ numBlocks: 160, scheduler: prudent });
    const ask = (seed: number, maxTokens: number) =>
      engine.generate({ prompt: promptOf(seed, 20), maxTokens, stop: { ids: [60] } }).result;
    for (let seed = 0; seed < 30; seed++) await ask(seed, 4);
    // Up to 140 tokens are allowed, about 4 are usual: both run at once.
    const both = Promise.all([ask(40, 140), ask(41, 140)]);
    for (let i = 0; i < 6; i++) await tick();
    expect(engine.stats().running).toBe(2);
    await both;
  });

  it("counts the rows of sliding windows, not whole prompts", async () => {
    const options = { slidingWindow: [6, undefined], numBlocks: 120 } as const;
    const scheduler = { maxBatchTokens: 8, maxSequences: 4, watermark: 0, foresight: true };
    const { engine, world } = await setUp({ ...options, scheduler });
    // Two rows of 140 tokens take 70 blocks; two of a window of 6 in chunks of 8 at most 10.
    const request = { prompt: promptOf(1, 140), maxTokens: 5 };
    expect([...(await engine.generate(request).result).tokenIds]).toEqual(
      await alone(request, { slidingWindow: options.slidingWindow }),
    );
    expect(world.numHeldBlocks()).toBe(0);
    const account = createBlockAccount(createWorld(options).cache, 8);
    expect(account.forTokens(140)).toEqual([70 + 2 * Math.ceil((6 + 4 - 2 + 8) / 4)]);
    // Four of them: each would take 140 blocks were its window not counted.
    const many = [2, 3, 4].map((seed) => ({ prompt: promptOf(seed, 60), maxTokens: 5 }));
    const results = await Promise.all(many.map((one) => engine.generate(one).result));
    for (const [i, { tokenIds }] of results.entries())
      expect([...tokenIds]).toEqual(
        await alone(many[i]!, { slidingWindow: options.slidingWindow }),
      );
  });
});

describe("priorities", () => {
  it("take the place of lower ones", async () => {
    for (const scheduler of [{ maxSequences: 1 }, { maxSequences: 4 }]) {
      const { engine } = await setUp({ numBlocks: 70, scheduler: { watermark: 0, ...scheduler } });
      const low = engine.generate({ prompt: promptOf(1, 40), maxTokens: 20 });
      for (let i = 0; i < 4; i++) await tick();
      const order: string[] = [];
      const high = engine.generate({ prompt: promptOf(2, 40), maxTokens: 4, priority: 1 });
      void low.result.then(() => order.push("low"));
      void high.result.then(() => order.push("high"));
      expect([...(await low.result).tokenIds]).toEqual(
        await alone({ prompt: promptOf(1, 40), maxTokens: 20 }),
      );
      expect(order).toEqual(["high", "low"]);
      expect(engine.stats().preemptions.recompute).toBe(1);
    }
  });
});

describe("swapping", () => {
  const sums = [{ kind: "attentionSums", power: 1, phase: "all" }] as const;
  const plan = testPlan(24, { needs: sums, trigger: { ...decoding, interval: 8 } });
  const requests = [1, 2, 3].map((seed) => ({ prompt: promptOf(seed, 26), maxTokens: 40, plan }));

  /** A space that remembers how full it was. */
  function measured(maxBytes: number): SwapSpace & { readonly peak: number } {
    const inner = createMemorySwap(maxBytes);
    let peak = 0;
    return {
      maxBytes,
      get bytes() {
        return inner.bytes;
      },
      get peak() {
        return peak;
      },
      store(content) {
        const kept = inner.store(content);
        peak = Math.max(peak, inner.bytes);
        return kept;
      },
    };
  }

  it("gives back all bytes, whatever becomes of the sequence", async () => {
    const swap = measured(2 ** 20);
    const { engine } = await setUp({ numBlocks: 90, scheduler: { watermark: 0 }, swap });
    const streams = requests.map((request) => engine.generate(request));
    while (swap.bytes === 0) await tick();
    expect(engine.stats().swappedBytes).toBe(swap.bytes);
    const aborted = engine.generate({ ...requests[0]!, prompt: promptOf(9, 26) });
    const results = await Promise.all(streams.map(({ result }) => result));
    await aborted.result;
    for (const [i, { tokenIds }] of results.entries())
      expect([...tokenIds]).toEqual(await alone(requests[i]!));
    expect(swap.bytes).toBe(0);
    expect(swap.peak).toBeGreaterThan(0);
  });

  it("stays below its cap: whoever cannot be swapped keeps its blocks", async () => {
    const { engine, world } = await setUp({
      numBlocks: 90,
      scheduler: { watermark: 0 },
      swap: createMemorySwap(100),
    });
    const settled = await Promise.allSettled(
      requests.map((request) => engine.generate(request).result),
    );
    expect(engine.stats().preemptions.swap).toBe(0);
    const [first] = settled;
    expect(first!.status).toBe("fulfilled");
    for (const [i, one] of settled.entries())
      if (one.status === "fulfilled")
        expect([...one.value.tokenIds]).toEqual(await alone(requests[i]!));
      else expect(one.reason.code).toBe("out-of-blocks");
    expect(world.numHeldBlocks()).toBe(0);
  });
});

describe("whoever finds no room, alone,", () => {
  it("hears whether others hold it or the cache is too small", async () => {
    const { engine } = await setUp({ numBlocks: 40, swap: createMemorySwap(100) });
    const session = engine.openSession();
    const plan = testPlan(18);
    await engine.generate({ prompt: promptOf(1, 30), maxTokens: 2, plan, session }).result;
    expect(engine.stats().idle).toBe(1);
    const ask = (length: number, maxTokens: number) =>
      engine.generate({ prompt: promptOf(2, length), maxTokens }).result;
    // 40 blocks of 4 tokens for 4 rows: 40 tokens, of which the session keeps 20.
    await expect(ask(30, 4)).rejects.toMatchObject({ code: "out-of-blocks" });
    await expect(ask(30, 30)).rejects.toMatchObject({ code: "out-of-blocks" });
    session.close();
    expect((await ask(30, 4)).finishReason).toBe("length");
    await expect(ask(30, 30)).rejects.toMatchObject({ code: "cache-size-exceeded" });
  });
});

describe("time limits and aborts", () => {
  it("end what runs and what waits, and free its blocks at once", async () => {
    const { engine, world } = await setUp({ scheduler: { maxSequences: 1 } });
    const running = engine.generate({ prompt: promptOf(1, 20), maxTokens: 900, timeout: 30 });
    const waiting = engine.generate({ prompt: promptOf(2, 20), maxTokens: 900, timeout: 20 });
    const ends = await Promise.allSettled([running.result, waiting.result]);
    for (const end of ends)
      expect(end).toMatchObject({ status: "rejected", reason: { code: "deadline-exceeded" } });
    expect(world.numHeldBlocks()).toBe(0);
    expect(() => engine.generate({ prompt: [1], timeout: 0 })).toThrow("timeout must be positive");
  });

  it("gives an aborted sequence's blocks to whoever waits in the same step", async () => {
    const types: string[] = [];
    const controller = new AbortController();
    let passes = 0;
    const { engine } = await setUp({
      numBlocks: 60,
      scheduler: { watermark: 0 },
      trace: { sink: ({ type }) => void types.push(type) },
      onForward: () => {
        if (++passes === 3) controller.abort();
      },
    });
    const { signal } = controller;
    const first = engine.generate({ prompt: promptOf(1, 40), maxTokens: 20, signal });
    const second = engine.generate({ prompt: promptOf(2, 40), maxTokens: 2 });
    expect((await first.result).finishReason).toBe("abort");
    await second.result;
    const after = types.slice(types.indexOf("finish"));
    expect(after.slice(0, 4)).toEqual(["finish", "step", "admit", "step"]);
  });
});
