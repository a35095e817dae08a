import { defineKernel, type EvictionPolicy, type KvBatch, KvCacheError } from "@kvcache/core";
import { forEachRow, slotOf } from "@kvcache/kernels";
import { afterEach, describe, expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import { reuseBench } from "./test-reuse.ts";
import { createWorld, promptOf, testPlan, testPolicy } from "./test-world.ts";

/** Adds 1 to the first number of every key, where it stands. */
const markKeys = defineKernel<{ batch: KvBatch }>({
  name: "mark-keys",
  reference({ batch }) {
    forEachRow(batch, ({ view }) => {
      const { storage, layout } = view.arena;
      const numbers = new Float32Array(storage.buffer, storage.byteOffset);
      const width = layout.key.width;
      for (let j = 0; j < view.length; j++) {
        const slot = slotOf(view, j);
        const block = Math.floor(slot / layout.blockSize);
        const at = block * layout.blockSize * width * 2 + (slot % layout.blockSize) * width;
        numbers[at] = numbers[at]! + 1;
      }
    });
  },
});

const bench = reuseBench();
const { start, run, fresh } = bench;

afterEach(async () => {
  await bench.engine.dispose();
  expect(bench.world.cache.stats().sequences).toBe(0);
});

describe("cached prefixes", () => {
  const shared = promptOf(1, 41);

  it("skip whole blocks of an equal beginning and change nothing", async () => {
    await start();
    await run({ prompt: shared, maxTokens: 2 });
    const request = { prompt: [...shared, ...promptOf(2, 7)], maxTokens: 6 };
    expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 40 });
    // The whole prompt is cached now; its last token is fed all the same.
    const again = { prompt: shared.slice(0, 40), maxTokens: 6 };
    expect(await run(again)).toMatchObject({ tokens: await fresh(again), cached: 36 });
    expect(bench.engine.stats()).toMatchObject({ promptTokens: 129, cachedPromptTokens: 76 });
  });

  it("hold what was generated too", async () => {
    await start();
    const { tokens } = await run({ prompt: shared, maxTokens: 12 });
    const request = { prompt: [...shared, ...tokens, 3, 4], maxTokens: 3 };
    // 41 + 11 tokens were fed: 13 whole blocks.
    expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 52 });
  });

  it("stop before the observation window", async () => {
    await start();
    await run({ prompt: shared, maxTokens: 2 });
    const plan = testPlan(10, { needs: [{ kind: "windowQueries", window: 6 }] });
    const request = { prompt: shared, maxTokens: 4, plan };
    expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 32 });
    const hidden = { ...request, compressAfter: 30 };
    expect(await run(hidden)).toMatchObject({ tokens: await fresh(hidden), cached: 24 });
  });

  it("are refused by plans whose sums would be another prompt's", async () => {
    await start();
    await run({ prompt: shared, maxTokens: 2 });
    const plan = testPlan(10, { needs: [{ kind: "attentionSums", power: 1, phase: "all" }] });
    const request = { prompt: shared, maxTokens: 4, plan };
    expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 0 });
  });

  it("survive a transform that changes what is kept", async () => {
    const policy = testPolicy({ needs: [{ kind: "windowQueries", window: 4 }] });
    const marking: EvictionPolicy = {
      ...policy,
      options: { marking: true },
      transform: { name: "mark", apply: (encoder, batch) => encoder.run(markKeys, { batch }) },
    };
    const plan = { eviction: { policy: marking, target: { tokens: 20 } } };
    await start();
    await run({ prompt: shared, maxTokens: 2 });
    const request = { prompt: [...shared, 8, 9], maxTokens: 6, plan };
    expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 36 });
    const after = { prompt: [...shared, 1, 2, 3], maxTokens: 9 };
    expect(await run(after)).toMatchObject({ tokens: await fresh(after), cached: 40 });
  });

  it("stay where a request pinned them while others come and go", async () => {
    for (const pin of [undefined, { tokens: 41, milliseconds: 60_000 }]) {
      await start({ numBlocks: 100 });
      await run({ prompt: shared, maxTokens: 2, ...(pin && { pin }) });
      for (const seed of [5, 6, 7]) await run({ prompt: promptOf(seed, 40), maxTokens: 8 });
      expect((await run({ prompt: shared, maxTokens: 2 })).cached).toBe(pin ? 40 : 0);
      await bench.engine.dispose();
    }
    await start();
    const bad = { prompt: shared, pin: { tokens: 41, milliseconds: 0 } };
    expect(() => bench.engine.generate(bad)).toThrow("pin.milliseconds must be positive");
  });

  it("are told of with the first token", async () => {
    await start();
    await run({ prompt: shared, maxTokens: 2 });
    const stream = bench.engine.generate({ prompt: shared, maxTokens: 3 });
    const seen: number[] = [];
    for await (const _ of stream) seen.push(stream.cachedTokens);
    expect(seen).toEqual([40, 40, 40, 40]);
  });

  it("never cross salts", async () => {
    await start();
    await run({ prompt: shared, maxTokens: 2, cacheSalt: "a" });
    expect(await run({ prompt: shared, maxTokens: 2, cacheSalt: "b" })).toMatchObject({
      cached: 0,
    });
    expect(await run({ prompt: shared, maxTokens: 2, cacheSalt: "a" })).toMatchObject({
      cached: 40,
    });
  });

  it("serve compressed prefixes to the same plan only", async () => {
    await start();
    const plan = testPlan(10);
    const ask = (question: number, wanted = plan) => ({
      prompt: [...shared, ...promptOf(question, 9)],
      maxTokens: 5,
      plan: wanted,
      compressAfter: 41,
    });
    await run(ask(2));
    expect(await run(ask(3))).toMatchObject({ tokens: await fresh(ask(3)), cached: 41 });
    const other = testPlan(11);
    expect(await run(ask(3, other))).toMatchObject({
      tokens: await fresh(ask(3, other)),
      cached: 40,
    });
  });

  it("keep prompts apart whose lengths rotate them differently", async () => {
    const options = { rope: { type: "dynamic", factor: 8 } as const, maxPositions: 24 };
    await start(options);
    await run({ prompt: shared, maxTokens: 2 });
    const longer = { prompt: [...shared, 5, 6, 7], maxTokens: 3 };
    expect(await run(longer)).toMatchObject({ tokens: await fresh(longer, options), cached: 0 });
    expect(await run({ prompt: shared, maxTokens: 2 })).toMatchObject({ cached: 40 });
  });

  it("make room for whoever needs their blocks", async () => {
    await start({ numBlocks: 60 });
    for (const seed of [1, 2, 3]) {
      const request = { prompt: promptOf(seed, 40), maxTokens: 8 };
      expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 0 });
    }
  });
});

describe("sliding windows", () => {
  it("give blocks back that no query sees, and change nothing", async () => {
    const options = { slidingWindow: [6, undefined] };
    await start(options);
    const request = { prompt: promptOf(1, 30), maxTokens: 20 };
    const { tokens, kv } = await run(request);
    expect(tokens).toEqual(await fresh(request, options));
    // Two rows keep all 49 tokens; two keep the window of 6 in at most three blocks.
    expect(kv.tokensKept).toBeLessThan((49 + 12) / 2);
    expect(await run(request)).toMatchObject({ tokens, cached: 0 });
  });
});

describe("choices", () => {
  it("fork from one prefill and go on as if they were alone", async () => {
    for (const plan of [{}, testPlan(10)]) {
      await start({}, false);
      const request = { prompt: promptOf(1, 30), maxTokens: 10, plan, sampling: { seed: 5 } };
      const { choices } = await bench.engine.generate({ ...request, n: 4 }).result;
      expect(bench.world.passes[0]).toBe(30);
      expect(bench.world.passes.slice(1).every((tokens) => tokens === 4)).toBe(true);
      for (const { index, tokenIds } of choices)
        expect([...tokenIds]).toEqual(await fresh({ ...request, sampling: { seed: 5 + index } }));
      expect(bench.world.numHeldBlocks()).toBe(0);
    }
  });

  it("do not share blocks that carry attention sums", async () => {
    await start({}, false);
    const trigger = { prefill: true, interval: 3, pressure: false };
    const needs = [{ kind: "attentionSums", power: 1, phase: "decode" }] as const;
    const plan = testPlan(10, { needs, trigger });
    const request = { prompt: promptOf(1, 12), maxTokens: 24, plan, sampling: { seed: 5 } };
    const { choices } = await bench.engine.generate({ ...request, n: 3 }).result;
    for (const { index, tokenIds } of choices)
      expect([...tokenIds]).toEqual(await fresh({ ...request, sampling: { seed: 5 + index } }));
  });

  it("end together with the first that cannot fork", async () => {
    const world = createWorld();
    let forks = 0;
    const fork = () => {
      forks++;
      throw new KvCacheError("out-of-blocks", "There is no room for a copy.");
    };
    const engine = await createEngine({ ...world, cache: { ...world.cache, fork } });
    const { result } = engine.generate({ prompt: promptOf(1, 30), maxTokens: 10, n: 4 });
    await expect(result).rejects.toMatchObject({ code: "out-of-blocks" });
    expect(forks).toBe(1);
    const { running, waiting, finished } = engine.stats();
    expect({ running, waiting, errors: finished.error }).toEqual({
      running: 0,
      waiting: 0,
      errors: 1,
    });
    await engine.dispose();
    expect(world.numHeldBlocks()).toBe(0);
  });

  it("wait their turn where the cache has no room for all", async () => {
    await start({ numBlocks: 76 }, false);
    const request = { prompt: promptOf(1, 30), maxTokens: 30, sampling: { seed: 5 } };
    const { choices } = await bench.engine.generate({ ...request, n: 3 }).result;
    expect(bench.engine.stats().preemptions.recompute).toBeGreaterThan(0);
    for (const { index, tokenIds } of choices)
      expect([...tokenIds]).toEqual(await fresh({ ...request, sampling: { seed: 5 + index } }));
  });
});

describe("sessions", () => {
  it("feed only what a turn adds", async () => {
    await start({}, false);
    const session = bench.engine.openSession();
    const first = { prompt: promptOf(1, 20), maxTokens: 6, session };
    const { tokens } = await run(first);
    expect(session.cachedTokens).toBe(25);
    const second = { ...first, prompt: [...first.prompt, ...tokens, ...promptOf(2, 9)] };
    expect(await run(second)).toMatchObject({ tokens: await fresh(second), cached: 25 });
    session.close();
    expect(bench.world.numHeldBlocks()).toBe(0);
    expect(() => bench.engine.generate(second)).toThrow("not of this engine");
  });

  it("cut the cache back to what two turns have in common", async () => {
    await start({}, false);
    const session = bench.engine.openSession();
    const first = { prompt: promptOf(1, 20), maxTokens: 6, session };
    await run(first);
    const second = { ...first, prompt: [...first.prompt.slice(0, 17), 1, 2, 3] };
    expect(await run(second)).toMatchObject({ tokens: await fresh(second), cached: 17 });
    const same = { ...first, prompt: second.prompt };
    expect(await run(same)).toMatchObject({ tokens: await fresh(same), cached: 19 });
  });

  it("go on from a compressed cache, but never rewrite what it was compressed with", async () => {
    await start({}, false);
    const plan = testPlan(8, { needs: [{ kind: "windowQueries", window: 3 }] });
    const session = bench.engine.openSession();
    const first = { prompt: promptOf(1, 20), maxTokens: 6, session, plan };
    const { tokens } = await run(first);
    const second = { ...first, prompt: [...first.prompt, ...tokens, ...promptOf(2, 9)] };
    const { cached, kv } = await run(second);
    expect(cached).toBe(25);
    // 8 of the first prompt, compressed again with the second one; then 5 generated tokens.
    expect(kv).toMatchObject({ tokensSeen: 40, tokensKept: 13, compressions: 2 });
    const rewritten = { ...first, prompt: [...first.prompt.slice(0, 10), ...promptOf(3, 9)] };
    expect(await run(rewritten)).toMatchObject({ tokens: await fresh(rewritten), cached: 0 });
  });

  it("lend their blocks while they rest and come back unharmed", async () => {
    for (const plan of [{}, testPlan(12)]) {
      await start({ numBlocks: 80 }, false);
      const session = bench.engine.openSession();
      const first = { prompt: promptOf(1, 20), maxTokens: 6, session, plan };
      const { tokens } = await run(first);
      await run({ prompt: promptOf(3, 70), maxTokens: 6 });
      expect(bench.engine.stats()).toMatchObject({ idleReclaims: 1, idle: 0 });
      const second = { ...first, prompt: [...first.prompt, ...tokens, 9, 8, 7] };
      const undisturbed = await createEngine({ ...createWorld(), prefixCache: false });
      const other = undisturbed.openSession();
      await undisturbed.generate({ ...first, session: other }).result;
      const expected = await undisturbed.generate({ ...second, session: other }).result;
      expect((await run(second)).tokens).toEqual([...expected.tokenIds]);
      await bench.engine.dispose();
    }
  });

  it("keep their slot while the queue is only as long as the engine allows", async () => {
    await start({ maxSequences: 3 }, true, { maxSequences: 1 });
    const session = bench.engine.openSession();
    await run({ prompt: promptOf(1, 20), maxTokens: 3, session });
    await Promise.all([2, 3].map((seed) => run({ prompt: promptOf(seed, 9), maxTokens: 9 })));
    expect(bench.engine.stats()).toMatchObject({ idleReclaims: 0, idle: 1 });
    const others = [4, 5].map(() => bench.engine.openSession());
    for (const other of others) await run({ prompt: promptOf(4, 9), maxTokens: 2, session: other });
    expect(bench.engine.stats()).toMatchObject({ idleReclaims: 0, idle: 3 });
    await run({ prompt: promptOf(2, 9), maxTokens: 9 });
    expect(bench.engine.stats()).toMatchObject({ idleReclaims: 1, idle: 2 });
  });

  it("survive an abort in the middle of a turn", async () => {
    await start({}, false);
    const session = bench.engine.openSession();
    const prompt = promptOf(1, 20);
    const controller = new AbortController();
    const stream = bench.engine.generate({
      prompt,
      maxTokens: 50,
      session,
      signal: controller.signal,
    });
    for await (const event of stream) if (event.type === "token") controller.abort();
    const next = { prompt: [...prompt, 1, 2, 3], maxTokens: 5, session };
    expect(await run(next)).toMatchObject({ tokens: await fresh(next), cached: 20 });
  });

  it("are not confused by a new turn that begins as an abort takes effect", async () => {
    let open: (() => void) | undefined;
    let hold = true;
    const onForward = () => {
      if (hold) return new Promise<void>((resolve) => (open = resolve));
    };
    await start({ onForward }, false);
    const session = bench.engine.openSession();
    const prompt = promptOf(1, 20);
    const controller = new AbortController();
    const { result } = bench.engine.generate({
      prompt,
      maxTokens: 9,
      session,
      signal: controller.signal,
    });
    const next = { prompt: [...prompt, 1, 2, 3], maxTokens: 5, session };
    const second = result.then(() => run(next));
    await new Promise((resolve) => setImmediate(resolve));
    controller.abort();
    hold = false;
    open!();
    expect(await second).toMatchObject({ tokens: await fresh(next), cached: 0 });
  });

  it("take one turn at a time, of one plan", async () => {
    await start();
    const session = bench.engine.openSession();
    const request = { prompt: promptOf(1, 20), maxTokens: 5, session };
    const { result } = bench.engine.generate(request);
    expect(() => bench.engine.generate(request)).toThrow("middle of a turn");
    await result;
    expect(() => bench.engine.generate({ ...request, plan: testPlan(9) })).toThrow("another plan");
    expect(() => bench.engine.generate({ ...request, stop: { strings: [""] } })).toThrow();
    await bench.engine.generate(request).result;
  });
});
