import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createEngine, type EngineOptions, type SchedulerOptions } from "./engine.ts";
import type { GenerationRequest } from "./request.ts";
import { createWorld, promptOf, testPlan, testPolicy, type WorldOptions } from "./test-world.ts";

interface Setup extends WorldOptions {
  readonly scheduler?: SchedulerOptions;
  readonly prefixCache?: boolean;
  readonly trace?: NonNullable<EngineOptions["trace"]>;
}

async function setUp({ scheduler = {}, prefixCache = false, trace, ...options }: Setup = {}) {
  const world = createWorld(options);
  const engine = await createEngine({
    model: world.model,
    backend: world.backend,
    cache: world.cache,
    scheduler,
    prefixCache,
    ...(trace && { trace }),
  });
  return { world, engine };
}

/** What a request generates with all the memory in the world and nobody beside it. */
async function alone(request: GenerationRequest, options: Setup = {}): Promise<number[]> {
  const { engine } = await setUp({ ...options, numBlocks: 4000 });
  const { tokenIds } = await engine.generate(request).result;
  await engine.dispose();
  return [...tokenIds];
}

const tick = () => new Promise((resolve) => setImmediate(resolve));

describe("generating", () => {
  it("streams tokens and ends with usage, cache and timings", async () => {
    const { engine, world } = await setUp();
    const stream = engine.generate({ prompt: promptOf(1, 20), maxTokens: 5, logprobs: 2 });
    const events = [];
    for await (const event of stream) events.push(event);
    const { tokenIds, choices } = await stream.result;
    expect(events.map(({ type }) => type)).toEqual([...Array(5).fill("token"), "end"]);
    expect(events.flatMap((event) => (event.type === "token" ? [event.tokenId] : []))).toEqual([
      ...tokenIds,
    ]);
    for (const event of events) {
      if (event.type !== "token") continue;
      expect(event.topLogprobs![0]).toEqual({ tokenId: event.tokenId, logprob: event.logprob });
      expect(event.topLogprobs).toHaveLength(2);
    }
    expect(choices[0]).toMatchObject({
      finishReason: "length",
      usage: { promptTokens: 20, completionTokens: 5, cachedTokens: 0 },
      // 24 tokens were fed (the fifth was not), in 6 blocks of 4 tokens × 4 rows × 32 bytes.
      kv: { tokensSeen: 24, tokensKept: 24, bytesNow: 6 * 4 * 4 * 16, compressions: 0 },
    });
    expect(world.numHeldBlocks()).toBe(0);
  });

  it("gives the same tokens whatever the chunks", async () => {
    const request = { prompt: promptOf(2, 50), maxTokens: 8, plan: testPlan(10) };
    const whole = await alone(request);
    for (const maxBatchTokens of [1, 7, 16])
      expect(await alone(request, { scheduler: { maxBatchTokens, maxSequences: 1 } })).toEqual(
        whole,
      );
  });

  it("stops at stop ids and counts the stop token", async () => {
    const request = { prompt: promptOf(3, 9), maxTokens: 9 };
    const free = await alone(request);
    const at = free.findIndex((id, i) => free.indexOf(id) === i && i >= 2);
    const { engine } = await setUp();
    const { result } = engine.generate({ ...request, stop: { ids: [free[at]!] } });
    expect(await result).toMatchObject({
      finishReason: "stop",
      stoppedBy: free[at],
      usage: { completionTokens: at + 1 },
    });
  });

  it("draws equal tokens from equal seeds, and others from other choices", async () => {
    const { engine } = await setUp();
    const request = { prompt: promptOf(4, 9), maxTokens: 12, n: 3, sampling: { seed: 7 } };
    const [first, second] = await Promise.all([
      engine.generate(request).result,
      engine.generate(request).result,
    ]);
    expect(first.choices.map(({ tokenIds }) => [...tokenIds])).toEqual(
      second.choices.map(({ tokenIds }) => [...tokenIds]),
    );
    expect(new Set(first.choices.map(({ tokenIds }) => tokenIds.join())).size).toBe(3);
  });

  it("runs no more sequences at once than it may", async () => {
    let most = 0;
    const { engine } = await setUp({
      scheduler: { maxSequences: 2 },
      onForward: ({ sequences }) => {
        most = Math.max(most, sequences.length);
      },
    });
    const requests = [1, 2, 3, 4].map((seed) => ({ prompt: promptOf(seed, 9), maxTokens: 5 }));
    await Promise.all(requests.map((request) => engine.generate(request).result));
    expect(most).toBe(2);
  });

  it("keeps decoding while a long prompt is fed", async () => {
    const { engine, world } = await setUp({ scheduler: { maxBatchTokens: 16, maxSequences: 4 } });
    const short = engine.generate({ prompt: promptOf(5, 4), maxTokens: 30 });
    const iterator = short[Symbol.asyncIterator]();
    await iterator.next();
    const before = world.passes.length;
    const long = engine.generate({ prompt: promptOf(6, 200), maxTokens: 1 });
    let tokens = 0;
    let done = false;
    void long.result.then(() => {
      done = true;
    });
    while (!done && !(await iterator.next()).done) tokens++;
    // 200 prompt tokens at 15 a step: the decoding sequence got its token in each of them.
    expect(world.passes.length - before).toBeGreaterThanOrEqual(14);
    expect(tokens).toBeGreaterThanOrEqual(13);
    await engine.dispose();
  });
});

describe("refusing", () => {
  it("says at once what can never work", async () => {
    const { engine } = await setUp({ numBlocks: 40, maxPositions: 100, windowSize: 4 });
    const prompt = promptOf(1, 10);
    const code = (request: Partial<GenerationRequest>) => {
      try {
        engine.generate({ prompt, maxTokens: 4, ...request });
      } catch (error) {
        return (error as { code: string }).code;
      }
      return "accepted";
    };
    expect(code({ prompt: [] })).toBe("invalid-argument");
    expect(code({ prompt: [1000] })).toBe("invalid-argument");
    expect(code({ prompt: "text" })).toBe("not-found");
    expect(code({ prompt: promptOf(1, 41) })).toBe("context-length-exceeded");
    expect(code({ prompt: promptOf(1, 101) })).toBe("context-length-exceeded");
    expect(code({ maxTokens: 91 })).toBe("context-length-exceeded");
    expect(code({ maxTokens: 0 })).toBe("invalid-argument");
    expect(code({ n: 0 })).toBe("invalid-argument");
    expect(code({ compressAfter: 5 })).toBe("invalid-argument");
    expect(code({ compressAfter: 11, plan: testPlan(5) })).toBe("invalid-argument");
    expect(code({ plan: testPlan(2) })).toBe("invalid-plan");
    const wide = [{ kind: "windowQueries", window: 5 }] as const;
    expect(code({ plan: testPlan(9, { needs: wide }) })).toBe("invalid-plan");
    expect(code({ plan: testPlan(9, { needs: [{ kind: "hidden" }] }) })).toBe("missing-signal");
    expect(code({ plan: { layerMap: [0, 0] } })).toBe("invalid-plan");
    expect(code({ sampling: { temperature: -1 } })).toBe("invalid-argument");
    expect(code({})).toBe("accepted");
    await engine.dispose();
    expect(code({})).toBe("disposed");
  });

  it("fails a sequence that outgrows the cache, and nobody else", async () => {
    const { engine, world } = await setUp({ numBlocks: 40 });
    const big = engine.generate({ prompt: promptOf(1, 30), maxTokens: 30 });
    await expect(big.result).rejects.toMatchObject({ code: "out-of-blocks" });
    const small = await engine.generate({ prompt: promptOf(1, 9), maxTokens: 3 }).result;
    expect(small.finishReason).toBe("length");
    expect(world.numHeldBlocks()).toBe(0);
  });

  it("fails only the request whose policy throws", async () => {
    const { engine, world } = await setUp();
    const policy = testPolicy();
    const broken = {
      ...policy,
      budget: {
        ...policy.budget,
        resolve: () => {
          throw new Error("broken");
        },
      },
    };
    const bad = { eviction: { policy: broken, target: { tokens: 5 } } };
    const request = { prompt: promptOf(1, 12), maxTokens: 4 };
    const good = testPlan(5);
    const results = await Promise.allSettled(
      [bad, good, {}].map((plan) => engine.generate({ ...request, plan }).result),
    );
    expect(results.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "fulfilled"]);
    expect(world.numHeldBlocks()).toBe(0);
  });

  it("fails those whose pass failed and goes on with the others", async () => {
    let passes = 0;
    const { engine, world } = await setUp({
      onForward: () => {
        if (++passes === 3) throw new Error("device trouble");
      },
    });
    const request = { prompt: promptOf(1, 12), maxTokens: 6 };
    await expect(engine.generate(request).result).rejects.toThrow("device trouble");
    expect((await engine.generate(request).result).tokenIds).toHaveLength(6);
    expect(world.numHeldBlocks()).toBe(0);
    expect(engine.stats().finished).toMatchObject({ error: 1, length: 1 });
  });
});

describe("compressing", () => {
  const window = [{ kind: "windowQueries", window: 4 }] as const;

  it("keeps what the plan says once the prompt is cached", async () => {
    const { engine } = await setUp();
    const plan = testPlan(10, { needs: window });
    const { kv } = await engine.generate({ prompt: promptOf(1, 40), maxTokens: 5, plan }).result;
    expect(kv).toMatchObject({ tokensSeen: 44, tokensKept: 14, compressions: 1 });
    expect(kv.bytesPeak).toBe(10 * 256);
    expect(kv.bytesNow).toBe(4 * 256);
  });

  it("hides the tokens behind compressAfter from the policy", async () => {
    const prefix = promptOf(1, 32);
    const kept: number[][][] = [];
    const { engine } = await setUp({
      trace: {
        positions: true,
        sink: (event) => {
          if (event.type === "compress") kept.push(event.positions!.map((row) => [...row].sort()));
        },
      },
    });
    const plan = testPlan(10, { needs: window });
    for (const question of [promptOf(7, 9), promptOf(8, 9)]) {
      const request = { maxTokens: 3, plan, compressAfter: 32 };
      const { kv } = await engine.generate({ ...request, prompt: [...prefix, ...question] }).result;
      expect(kv).toMatchObject({ tokensSeen: 43, tokensKept: 10 + 9 + 2 });
    }
    await engine.generate({ prompt: prefix, maxTokens: 2, plan }).result;
    expect(kept[0]).toEqual(kept[1]);
    expect(kept[0]).toEqual(kept[2]);
  });

  it("goes on every interval while decoding", async () => {
    const { engine } = await setUp();
    const sums = [{ kind: "attentionSums", power: 2, phase: "decode" }] as const;
    const trigger = { prefill: true, interval: 6, pressure: false };
    const plan = testPlan(12, { needs: sums, trigger });
    const { kv } = await engine.generate({ prompt: promptOf(1, 30), maxTokens: 21, plan }).result;
    // After the prompt and after 6, 12, 18 of the 20 tokens that were fed.
    expect(kv).toMatchObject({ tokensSeen: 50, tokensKept: 14, compressions: 4 });
  });

  it("compresses sequences of one policy in one batch", async () => {
    const batches: number[] = [];
    const policy = testPolicy();
    const counting = {
      ...policy,
      scorer: {
        ...policy.scorer,
        score: (...args: Parameters<typeof policy.scorer.score>) => {
          batches.push(args[1].sequences.length);
          policy.scorer.score(...args);
        },
      },
    };
    const plan = { eviction: { policy: counting, target: { tokens: 6 } } };
    const { engine } = await setUp();
    const results = [1, 2, 3].map(
      (seed) => engine.generate({ prompt: promptOf(seed, 20), maxTokens: 3, plan }).result,
    );
    await Promise.all(results);
    expect(batches).toEqual([3]);
  });

  it("runs replay passes and takes their entries out again", async () => {
    const { engine, world } = await setUp({ scheduler: { maxBatchTokens: 16, maxSequences: 4 } });
    const replay = (end: number) =>
      [
        {
          kind: "replay",
          reduce: "max",
          passes: ({ tokenIds }: { tokenIds: Int32Array }) => [
            { tokenIds: tokenIds.slice(0, 20), start: 0, end: 20 },
            { tokenIds: tokenIds.slice(20), start: 20, end },
          ],
        },
      ] as const;
    const run = async (needs: ReturnType<typeof replay>) =>
      engine.generate({ prompt: promptOf(1, 40), maxTokens: 6, plan: testPlan(10, { needs }) })
        .result;
    const full = await run(replay(40));
    expect(full.kv).toMatchObject({ tokensSeen: 45, tokensKept: 15 });
    expect((await run(replay(40))).tokenIds).toEqual(full.tokenIds);
    expect((await run(replay(21))).tokenIds).not.toEqual(full.tokenIds);
    expect(world.numHeldBlocks()).toBe(0);
  });

  it("frees blocks that another sequence takes in the same step", async () => {
    // Room for one prompt of 40 tokens (40 blocks) and little more.
    const events: string[] = [];
    const { engine } = await setUp({
      numBlocks: 60,
      scheduler: { watermark: 0 },
      trace: { sink: ({ type }) => events.push(type) },
    });
    const plan = testPlan(8);
    const requests = [1, 2].map((seed) => ({ prompt: promptOf(seed, 40), maxTokens: 8, plan }));
    const results = await Promise.all(requests.map((request) => engine.generate(request).result));
    for (const [i, { tokenIds }] of results.entries())
      expect([...tokenIds]).toEqual(await alone(requests[i]!));
    expect(events.slice(0, 6)).toEqual(["start", "admit", "step", "compress", "admit", "step"]);
    expect(engine.stats().preemptions).toEqual({ recompute: 0, swap: 0 });
  });

  it("compresses under pressure before it preempts", async () => {
    const trigger = { prefill: false, pressure: true };
    const { engine } = await setUp({ numBlocks: 64, scheduler: { watermark: 0 } });
    const policy = testPolicy({ trigger });
    const plan = { eviction: { policy, target: { tokens: 8 } } };
    const results = await Promise.all(
      [1, 2].map(
        (seed) => engine.generate({ prompt: promptOf(seed, 28), maxTokens: 20, plan }).result,
      ),
    );
    expect(results.every(({ kv }) => kv.compressions > 0)).toBe(true);
    expect(engine.stats().preemptions).toEqual({ recompute: 0, swap: 0 });
  });
});

describe("preempting", () => {
  it("feeds uncompressed sequences again and swaps compressed ones", async () => {
    const sums = [{ kind: "attentionSums", power: 1, phase: "all" }] as const;
    const plans = {
      recompute: {},
      swap: testPlan(24, { needs: sums, trigger: { prefill: true, interval: 8, pressure: false } }),
    };
    for (const [by, plan] of Object.entries(plans)) {
      const { engine, world } = await setUp({ numBlocks: 90, scheduler: { watermark: 0 } });
      const requests = [1, 2, 3].map((seed) => ({
        prompt: promptOf(seed, by === "swap" ? 26 : 20),
        maxTokens: 40,
        plan,
      }));
      const results = await Promise.all(requests.map((request) => engine.generate(request).result));
      const { preemptions } = engine.stats();
      expect(preemptions[by as "swap"]).toBeGreaterThan(0);
      for (const [i, { tokenIds }] of results.entries())
        expect([...tokenIds]).toEqual(await alone(requests[i]!));
      expect(world.numHeldBlocks()).toBe(0);
    }
  });

  it("takes from low priorities and late arrivals first", async () => {
    const preempted: number[] = [];
    const { engine } = await setUp({
      numBlocks: 60,
      scheduler: { watermark: 0 },
      trace: {
        sink: (event) => {
          if (event.type === "preempt") preempted.push(event.sequence);
        },
      },
    });
    const low = { prompt: promptOf(1, 20), maxTokens: 30, priority: -1 };
    const high = { prompt: promptOf(2, 20), maxTokens: 30 };
    await Promise.all([low, high].map((request) => engine.generate(request).result));
    expect(new Set(preempted)).toEqual(new Set([0]));
  });

  it("replays what a longer prompt's RoPE gave, token by token", async () => {
    const rope = { type: "dynamic", factor: 4 } as const;
    const options = { rope, maxPositions: 16, numBlocks: 90, scheduler: { watermark: 0 } };
    const { engine } = await setUp(options);
    const requests = [1, 2, 3].map((seed) => ({ prompt: promptOf(seed, 20), maxTokens: 40 }));
    const results = await Promise.all(requests.map((request) => engine.generate(request).result));
    expect(engine.stats().preemptions.recompute).toBeGreaterThan(0);
    for (const [i, { tokenIds }] of results.entries())
      expect([...tokenIds]).toEqual(await alone(requests[i]!, options));
  });
});

describe("aborting", () => {
  it("frees everything in the step that was running", async () => {
    let open: (() => void) | undefined;
    const { engine, world } = await setUp({
      onForward: () => new Promise<void>((resolve) => (open = resolve)),
    });
    const controller = new AbortController();
    const stream = engine.generate({
      prompt: promptOf(1, 20),
      maxTokens: 5,
      signal: controller.signal,
    });
    await tick();
    expect(world.numHeldBlocks()).toBeGreaterThan(0);
    controller.abort();
    expect(world.numHeldBlocks()).toBeGreaterThan(0);
    open!();
    expect(await stream.result).toMatchObject({ finishReason: "abort" });
    expect(world.numHeldBlocks()).toBe(0);
    expect(engine.stats().finished.abort).toBe(1);
  });

  it("frees at once between steps, and when the consumer stops iterating", async () => {
    const { engine, world } = await setUp();
    const stream = engine.generate({ prompt: promptOf(1, 20), maxTokens: 500 });
    for await (const event of stream) if (event.type === "token") break;
    expect(await stream.result).toMatchObject({ finishReason: "abort" });
    expect(world.numHeldBlocks()).toBe(0);
  });

  it("never starts what was aborted before", async () => {
    const { engine, world } = await setUp();
    const signal = AbortSignal.abort();
    const { result } = engine.generate({ prompt: promptOf(1, 20), maxTokens: 5, signal, n: 2 });
    expect((await result).choices.map(({ finishReason }) => finishReason)).toEqual([
      "abort",
      "abort",
    ]);
    expect(world.passes).toEqual([]);
  });
});

describe("disposing", () => {
  it("rejects everything and frees everything", async () => {
    const { engine, world } = await setUp({ prefixCache: true });
    const session = engine.openSession();
    await engine.generate({ prompt: promptOf(1, 9), maxTokens: 2, session }).result;
    const streams = [2, 3].map((seed) =>
      engine.generate({ prompt: promptOf(seed, 20), maxTokens: 500 }),
    );
    await tick();
    await engine.dispose();
    for (const { result } of streams)
      await expect(result).rejects.toMatchObject({ code: "disposed" });
    const { totalBlocks, freeBlocks } = world.cache.stats().arenas[0]!;
    expect(freeBlocks).toBe(totalBlocks);
    expect(world.cache.stats().sequences).toBe(0);
  });
});

describe("batches", () => {
  const sums = [{ kind: "attentionSums", power: 2, phase: "decode", buffer: 2 }] as const;
  const window = [{ kind: "windowQueries", window: 3 }] as const;
  const decoding = { prefill: true, interval: 5, pressure: false };
  const plans = [
    {},
    testPlan(8),
    testPlan(12, { needs: window, name: "window" }),
    testPlan(9, { needs: [...sums, ...window], trigger: decoding, name: "sums" }),
  ];

  it("give every sequence the tokens it gets alone, whatever happens around it", async () => {
    const request = fc.record({
      prompt: fc.record({ seed: fc.nat(3), length: fc.integer({ min: 1, max: 60 }) }),
      maxTokens: fc.integer({ min: 1, max: 16 }),
      plan: fc.nat(plans.length - 1),
      priority: fc.integer({ min: 0, max: 2 }),
      hidden: fc.nat(10),
      abortAfter: fc.option(fc.nat(12), { nil: undefined }),
    });
    const setup = fc.record({
      numBlocks: fc.integer({ min: 100, max: 400 }),
      maxBatchTokens: fc.integer({ min: 16, max: 64 }),
      maxSequences: fc.integer({ min: 1, max: 16 }),
      prefixCache: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 16, maxLength: 16 }),
        setup,
        async (requests, { numBlocks, maxBatchTokens, maxSequences, prefixCache }) => {
          const { engine, world } = await setUp({
            numBlocks,
            prefixCache,
            scheduler: { maxBatchTokens, maxSequences },
          });
          const resolved = requests.map(({ prompt, maxTokens, plan, priority, hidden }) => {
            const full: GenerationRequest = {
              prompt: promptOf(prompt.seed, prompt.length),
              maxTokens,
              plan: plans[plan]!,
              priority,
            };
            const compressAfter = prompt.length - hidden;
            return plan > 0 && compressAfter > 0 ? { ...full, compressAfter } : full;
          });
          const outcomes = await Promise.all(
            requests.map(async ({ abortAfter }, i) => {
              const controller = new AbortController();
              const stream = engine.generate({ ...resolved[i]!, signal: controller.signal });
              let tokens = 0;
              if (abortAfter === 0) controller.abort();
              for await (const event of stream)
                if (event.type === "token" && ++tokens === abortAfter) controller.abort();
              return stream.result;
            }),
          );
          for (const [i, { tokenIds, finishReason }] of outcomes.entries()) {
            const expected = await alone(resolved[i]!);
            expect([...tokenIds]).toEqual(expected.slice(0, tokenIds.length));
            if (finishReason !== "abort") expect(tokenIds).toHaveLength(expected.length);
          }
          await tick();
          expect(world.numHeldBlocks()).toBe(0);
          expect(world.cache.stats().arenas[0]!.reservedBlocks).toBe(0);
        },
      ),
      { numRuns: Number(process.env.FC_RUNS ?? 12) },
    );
  });

  it("give every block back, with sessions, choices and pressure among them", async () => {
    const pressure = { prefill: false, interval: 9, pressure: true };
    const some = [...plans, testPlan(7, { trigger: pressure, name: "pressure" })];
    const request = fc.record({
      length: fc.integer({ min: 1, max: 50 }),
      maxTokens: fc.integer({ min: 1, max: 20 }),
      plan: fc.nat(some.length - 1),
      n: fc.integer({ min: 1, max: 3 }),
      turns: fc.nat(2),
      abortAfter: fc.option(fc.nat(9), { nil: undefined }),
    });
    const setup = fc.record({
      numBlocks: fc.integer({ min: 60, max: 200 }),
      maxSequences: fc.integer({ min: 1, max: 6 }),
      prefixCache: fc.boolean(),
      slides: fc.boolean(),
    });
    await fc.assert(
      fc.asyncProperty(
        fc.array(request, { minLength: 1, maxLength: 10 }),
        setup,
        async (requests, { numBlocks, maxSequences, prefixCache, slides }) => {
          const { engine, world } = await setUp({
            numBlocks,
            maxSequences: 6,
            prefixCache,
            ...(slides && { slidingWindow: [5, undefined] }),
            scheduler: { maxBatchTokens: 16, maxSequences },
          });
          const outcomes = requests.map(async ({ length, n, turns, abortAfter, ...rest }, seed) => {
            const session = turns > 0 ? engine.openSession() : undefined;
            let prompt = promptOf(seed % 3, length);
            for (let turn = 0; turn <= turns; turn++) {
              const controller = new AbortController();
              const stream = engine.generate({
                ...rest,
                plan: some[rest.plan]!,
                prompt,
                signal: controller.signal,
                ...(session ? { session } : { n }),
              });
              let tokens = 0;
              for await (const event of stream) {
                if (event.type === "end") expect(event.kv.tokensKept).toBeLessThanOrEqual(200);
                else if (++tokens === abortAfter) controller.abort();
              }
              prompt = [...prompt, ...(await stream.result).tokenIds, turn];
            }
            session?.close();
          });
          for (const outcome of await Promise.allSettled(outcomes))
            if (outcome.status === "rejected")
              expect(["out-of-blocks", "context-length-exceeded"]).toContain(outcome.reason.code);
          const { waiting, running } = engine.stats();
          expect({ waiting, running }).toEqual({ waiting: 0, running: 0 });
          await engine.dispose();
          expect(world.cache.stats().sequences).toBe(0);
          expect(world.cache.stats().arenas[0]).toMatchObject({
            freeBlocks: numBlocks,
            reservedBlocks: 0,
          });
        },
      ),
      { numRuns: Number(process.env.FC_RUNS ?? 20) },
    );
  });
});
