import { expect, it } from "vitest";
import { setUp } from "./test-engine.ts";
import { promptOf, testPlan } from "./test-world.ts";

const document = promptOf(1, 41);
const questions = [2, 3, 4].map((seed) => [...document, ...promptOf(seed, 9)]);
const replay = {
  kind: "replay",
  passes: ({ tokenIds }: { tokenIds: Int32Array }) => [
    { tokenIds: tokenIds.slice(0, 20), start: 0, end: 41 },
  ],
} as const;
const sums = { kind: "attentionSums", power: 2, phase: "decode" } as const;
const window = { kind: "windowQueries", window: 4 } as const;
const decoding = { prefill: true, interval: 6, pressure: false };
const plans = {
  full: {},
  window: testPlan(10, { needs: [window], trigger: decoding }),
  sums: testPlan(12, { needs: [sums], trigger: decoding }),
  replay: testPlan(10, { needs: [replay] }),
};

it("a captured document answers questions on another engine as if it had been read there", async () => {
  for (const [name, plan] of Object.entries(plans)) {
    const { engine: first, world } = await setUp();
    const { bytes, state, usage, kv } = await first.capture({ prompt: document, plan });
    expect(usage).toMatchObject({ promptTokens: 41, completionTokens: 0 });
    expect(kv.compressions).toBe(name === "full" ? 0 : 1);
    expect(world.numHeldBlocks()).toBe(0);
    await first.dispose();
    // A file may be all that is left of it.
    const from = { bytes: bytes.slice(), state: JSON.parse(JSON.stringify(state)) };
    const { engine, world: second } = await setUp();
    for (const prompt of questions) {
      const { engine: other } = await setUp();
      const compressAfter = name === "full" ? {} : { compressAfter: 41 };
      const expected = await other.generate({ prompt, maxTokens: 20, plan, ...compressAfter })
        .result;
      const { tokenIds, usage } = await engine.generate({ prompt, maxTokens: 20, plan, from })
        .result;
      expect([...tokenIds]).toEqual([...expected.tokenIds]);
      expect(usage.cachedTokens).toBe(41);
    }
    // Only questions and answers were fed.
    expect(second.passes.reduce((a, b) => a + b, 0)).toBe(3 * (9 + 19));
    expect(second.numHeldBlocks()).toBe(0);
  }
});

it("questions of one capture run at once, are preempted and come back", async () => {
  const { engine: first } = await setUp();
  const plan = plans.window;
  const from = await first.capture({ prompt: document, plan });
  const { engine } = await setUp({ numBlocks: 64, scheduler: { watermark: 0 } });
  const ask = (prompt: number[]) => ({ prompt, maxTokens: 20, plan, from });
  const together = await Promise.all(
    questions.map((prompt) => engine.generate(ask(prompt)).result),
  );
  expect(engine.stats().preemptions.swap).toBeGreaterThan(0);
  for (const [i, { tokenIds }] of together.entries())
    expect(tokenIds).toEqual((await first.generate(ask(questions[i]!)).result).tokenIds);
});

it("is refused where it does not fit", async () => {
  const { engine } = await setUp();
  const from = await engine.capture({ prompt: document, plan: plans.window });
  const ask = (request: object) => () =>
    engine.generate({ prompt: questions[0]!, plan: plans.window, from, ...request });
  expect(ask({ plan: plans.sums })).toThrow("made with another plan");
  expect(ask({ prompt: document })).toThrow("holds another prompt");
  expect(ask({ prompt: promptOf(7, 60) })).toThrow("holds another prompt");
  expect(ask({ session: engine.openSession() })).toThrow("without a session");
  const foreign = { ...from, state: { ...from.state, model: "other" } };
  expect(ask({ from: foreign })).toThrow("another model");
  const damaged = { ...from, bytes: from.bytes.slice() };
  damaged.bytes[damaged.bytes.length - 1]! ^= 1;
  await expect(ask({ from: damaged })().result).rejects.toMatchObject({ code: "invalid-file" });
  await expect(ask({})().result).resolves.toBeDefined();
});
