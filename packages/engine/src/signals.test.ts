import { type StepInput, signalFlag } from "@kvcache/core";
import { expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import { createWorld, promptOf, testPlan, testPolicy } from "./test-world.ts";

/** Token positions, flags and buffers of every sequence of every pass. */
async function watch(options: Parameters<typeof createWorld>[0] = {}) {
  const seen: { position: number; count: number; flags: number; buffer: number; rope: number[] }[] =
    [];
  const onForward = (step: StepInput) =>
    step.sequences.forEach((_, s) => {
      const [begin, end] = [step.cuTokens[s]!, step.cuTokens[s + 1]!];
      seen.push({
        position: step.positions[begin]!,
        count: end - begin,
        flags: step.signalFlags[s]!,
        buffer: step.attentionBuffers[s]!,
        rope: [...step.ropeLengths.subarray(begin, end)],
      });
    });
  const world = createWorld({ onForward, ...options });
  const scheduler = { maxBatchTokens: 16, maxSequences: 8, watermark: 0 };
  const engine = await createEngine({
    ...world,
    prefixCache: false,
    scheduler: { foresight: false, ...scheduler },
  });
  return { seen, engine };
}

const trigger = { prefill: false, interval: 50, pressure: false };
const needs = [
  { kind: "attentionSums", power: 2, phase: "decode", buffer: 3 },
  { kind: "windowQueries", window: 4 },
] as const;

it("asks for sums in the phase that the policy names, with its buffer", async () => {
  const { seen, engine } = await watch();
  const plan = testPlan(20, { needs, trigger });
  await engine.generate({ prompt: promptOf(1, 20), maxTokens: 3, plan }).result;
  const { windowQueries, sumSquaredAttention } = signalFlag;
  const prefill = { flags: windowQueries, buffer: 3 };
  const decode = { flags: windowQueries | sumSquaredAttention, buffer: 3 };
  expect(seen).toEqual([
    { position: 0, count: 16, rope: Array(16).fill(20), ...prefill },
    { position: 16, count: 4, rope: Array(4).fill(20), ...prefill },
    { position: 20, count: 1, rope: [21], ...decode },
    { position: 21, count: 1, rope: [22], ...decode },
  ]);
});

it("feeds a preempted sequence again with the flags that each token had", async () => {
  const { seen, engine } = await watch({ numBlocks: 50 });
  const plan = testPlan(40, { needs, trigger });
  const [, second] = [1, 2].map((seed) =>
    engine.generate({ prompt: promptOf(seed, 8), maxTokens: 40, plan }),
  );
  await second!.result;
  expect(engine.stats().preemptions.recompute).toBe(1);
  const last = seen.findLastIndex(({ position }) => position === 0);
  expect(seen.slice(last, last + 2)).toMatchObject([
    { position: 0, count: 8, flags: signalFlag.windowQueries },
    { position: 8, flags: signalFlag.windowQueries | signalFlag.sumSquaredAttention },
  ]);
  expect(seen[last + 1]!.count).toBeGreaterThan(1);
  expect(seen[last + 1]!.rope.slice(0, 2)).toEqual([9, 10]);
});

it("goes on at the position that a renumbering transform names", async () => {
  const { seen, engine } = await watch();
  const policy = {
    ...testPolicy(),
    transform: { name: "renumber", apply: () => {}, nextPosition: (kept: number) => kept },
  };
  const plan = { eviction: { policy, target: { tokens: 6 } } };
  const session = engine.openSession();
  const request = { prompt: promptOf(1, 16), maxTokens: 4, plan, session };
  const { tokenIds } = await engine.generate(request).result;
  expect(seen.map(({ position }) => position)).toEqual([0, 6, 7, 8]);
  const next = { ...request, prompt: [...request.prompt, ...tokenIds, 1] };
  expect((await engine.generate(next).result).usage.cachedTokens).toBe(0);
  const trigger = { prefill: true, interval: 5, pressure: false };
  const again = { ...testPolicy({ needs: [needs[1]], trigger }), transform: policy.transform };
  expect(() => engine.explain({ eviction: { policy: again, target: { tokens: 6 } } })).toThrow(
    "renumbers positions",
  );
});

it("refuses a policy whose parts want different buffers", async () => {
  const { engine } = await watch();
  const plan = testPlan(20, { needs: [needs[0], { ...needs[0], buffer: 0 }] });
  expect(() => engine.generate({ prompt: [1, 2], plan })).toThrow("buffers 3 and 0");
});

it("gathers nothing for a target that evicts nothing, and never compresses for it", async () => {
  const { seen, engine } = await watch();
  const policy = testPlan(20, { needs, trigger: { prefill: true, interval: 2, pressure: true } })
    .eviction!.policy;
  for (const keepsAllAtRatio1 of [true, false]) {
    const budget = { ...policy.budget, keepsAllAtRatio1 };
    const plan = { eviction: { policy: { ...policy, budget }, target: { ratio: 1 } } };
    seen.length = 0;
    const { kv } = await engine.generate({ prompt: promptOf(1, 9), maxTokens: 6, plan }).result;
    expect(kv).toMatchObject({ tokensKept: 14, compressions: keepsAllAtRatio1 ? 0 : 3 });
    expect(seen.some(({ flags }) => (flags & signalFlag.sumSquaredAttention) !== 0)).toBe(
      !keepsAllAtRatio1,
    );
  }
});
