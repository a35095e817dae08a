import { describe, expect, it } from "vitest";
import { alone, setUp } from "./test-engine.ts";
import { promptOf, testPlan, testPolicy } from "./test-world.ts";

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
    expect(events.filter((type) => type !== "queue").slice(0, 6)).toEqual([
      "start",
      "admit",
      "step",
      "compress",
      "admit",
      "step",
    ]);
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
