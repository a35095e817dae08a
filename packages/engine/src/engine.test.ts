import { describe, expect, it } from "vitest";
import type { GenerationRequest } from "./request.ts";
import { alone, setUp, tick } from "./test-engine.ts";
import { promptOf, testPlan, testPolicy } from "./test-world.ts";

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
    await expect(big.result).rejects.toMatchObject({ code: "cache-size-exceeded" });
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
