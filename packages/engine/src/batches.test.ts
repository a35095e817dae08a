import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { GenerationRequest } from "./request.ts";
import { alone, setUp, tick } from "./test-engine.ts";
import { promptOf, testPlan } from "./test-world.ts";

describe("batches", () => {
  const sums = [{ kind: "attentionSums", power: 2, phase: "decode", buffer: 2 }] as const;
  const window = [{ kind: "windowQueries", window: 3 }] as const;
  const signals = ["chunkQueries", "hidden", "headOutputs"] as const;
  const observed = [{ kind: "chunkQueries" }, { kind: "hidden" }] as const;
  const replay = {
    kind: "replay",
    passes: ({ tokenIds }: { tokenIds: Int32Array }) => [
      { tokenIds: tokenIds.slice(0, 20), start: 0, end: 20 },
      { tokenIds: tokenIds.slice(20), start: 20, end: tokenIds.length },
    ],
  } as const;
  const decoding = { prefill: true, interval: 5, pressure: false };
  const plans = [
    {},
    testPlan(8),
    testPlan(12, { needs: window, name: "window" }),
    testPlan(9, { needs: [...sums, ...window], trigger: decoding, name: "sums" }),
    testPlan(9, { needs: observed, name: "observing" }),
    testPlan(9, { needs: [...observed, ...window], trigger: decoding, name: "observing-on" }),
    testPlan(9, { needs: [...observed, replay, ...window], name: "replaying" }),
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
            signals,
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
            const expected = await alone(resolved[i]!, { signals });
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
    const some = [
      ...plans,
      testPlan(7, { trigger: pressure, name: "pressure" }),
      testPlan(7, { needs: observed, trigger: pressure, name: "observing-pressure" }),
    ];
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
            signals,
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
              expect(["out-of-blocks", "cache-size-exceeded", "context-length-exceeded"]).toContain(
                outcome.reason.code,
              );
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
