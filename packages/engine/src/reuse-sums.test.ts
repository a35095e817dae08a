import type { Scorer, Trigger } from "@kvcache/core";
import { addSums } from "@kvcache/kernels";
import { afterEach, describe, expect, it } from "vitest";
import { reuseBench } from "./test-reuse.ts";
import { promptOf, testPlan, testPolicy } from "./test-world.ts";

const bench = reuseBench();
const { start, run, fresh } = bench;

afterEach(async () => {
  await bench.engine.dispose();
  expect(bench.world.cache.stats().sequences).toBe(0);
});

describe("cached prefixes", () => {
  const shared = promptOf(1, 41);

  describe("of plans that gather attention sums while they decode", () => {
    const needs = [
      { kind: "attentionSums", power: 2, phase: "decode" },
      { kind: "windowQueries", window: 4 },
    ] as const;
    const interval = { prefill: false, interval: 5, pressure: false };
    const both = { prefill: true, interval: 5, pressure: true };

    /** Its scores of a prompt are the sums that it goes on from. */
    function planOf(tokens: number, trigger: Trigger) {
      const policy = testPolicy({ needs, trigger });
      const { score } = policy.scorer;
      const scorer: Scorer = {
        ...policy.scorer,
        score(encoder, batch, out) {
          if (batch.phase === "prefill") {
            score(encoder, batch, out);
            encoder.run(addSums, { batch, power: 2, values: out });
          }
          score(encoder, batch, out);
        },
      };
      return { eviction: { policy: { ...policy, scorer }, target: { tokens } } };
    }

    it("start from what others left, and leave it as it was", async () => {
      for (const trigger of [interval, both]) {
        await start();
        const plan = planOf(14, trigger);
        await run({ prompt: shared, maxTokens: 2 });
        for (const question of [2, 3, 4]) {
          const prompt = [...shared, ...promptOf(question, 9)];
          const request = { prompt, maxTokens: 16, plan };
          expect(await run(request)).toMatchObject({ tokens: await fresh(request), cached: 40 });
        }
        const after = { prompt: [...shared, 1, 2, 3], maxTokens: 9 };
        expect(await run(after)).toMatchObject({ tokens: await fresh(after), cached: 40 });
        await bench.engine.dispose();
      }
    });

    it("publish it where they were the first to read it", async () => {
      await start();
      const plan = planOf(14, both);
      const ask = (question: number) => ({
        prompt: [...shared, ...promptOf(question, 9)],
        maxTokens: 16,
        plan,
      });
      expect(await run(ask(2))).toMatchObject({ cached: 0 });
      const together = await Promise.all([3, 4, 5].map((question) => run(ask(question))));
      for (const [i, result] of together.entries())
        expect(result).toMatchObject({ tokens: await fresh(ask(3 + i)), cached: 40 });
    });

    it("keep it where the cache holds one prompt and little more", async () => {
      // 49 tokens take 13 of 20 block groups: no room for a second copy of them.
      await start({ numBlocks: 80 });
      const plan = planOf(12, both);
      const ask = (question: number) => ({
        prompt: [...shared, ...promptOf(question, 8)],
        maxTokens: 8,
        plan,
      });
      await run(ask(2));
      for (const question of [3, 4, 5])
        expect(await run(ask(question))).toMatchObject({
          tokens: await fresh(ask(question)),
          cached: 40,
        });
    });

    it("find compressed prefixes with their sums", async () => {
      await start();
      const plan = planOf(12, both);
      const ask = (question: number) => ({
        prompt: [...shared, ...promptOf(question, 9)],
        maxTokens: 16,
        plan,
        compressAfter: 41,
      });
      for (const [i, question] of [2, 3, 4].entries())
        expect(await run(ask(question))).toMatchObject({
          tokens: await fresh(ask(question)),
          cached: i === 0 ? 0 : 41,
        });
    });
  });

  it("serve plans that gather from the whole prompt once they are compressed", async () => {
    const replayed = {
      kind: "replay",
      passes: ({ tokenIds }: { tokenIds: Int32Array }) => [
        { tokenIds: tokenIds.slice(0, 20), start: 0, end: 41 },
      ],
    } as const;
    const sums = { kind: "attentionSums", power: 1, phase: "all" } as const;
    for (const need of [replayed, sums]) {
      await start();
      const plan = testPlan(10, { needs: [need] });
      const ask = (question: number) => ({
        prompt: [...shared, ...promptOf(question, 9)],
        maxTokens: 6,
        plan,
        compressAfter: 41,
      });
      for (const [i, question] of [2, 3, 4].entries())
        expect(await run(ask(question))).toMatchObject({
          tokens: await fresh(ask(question)),
          cached: i === 0 ? 0 : 41,
        });
      await bench.engine.dispose();
    }
  });
});
