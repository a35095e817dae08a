import { expect, it } from "vitest";
import type { GenerationRequest } from "./request.ts";
import { alone, setUp } from "./test-engine.ts";
import { promptOf, testPlan } from "./test-world.ts";

const greedy = { temperature: 0 };
const interval = { prefill: true, interval: 6, pressure: false };
const sums = [{ kind: "attentionSums", power: 1, phase: "all" }] as const;

const requests: Readonly<Record<string, GenerationRequest>> = {
  full: { prompt: promptOf(1, 20), maxTokens: 33, sampling: greedy },
  compressed: {
    prompt: promptOf(2, 26),
    maxTokens: 40,
    sampling: greedy,
    plan: testPlan(12, { trigger: interval }),
  },
  "with sums": {
    prompt: promptOf(3, 26),
    maxTokens: 20,
    sampling: greedy,
    plan: testPlan(12, { needs: sums, trigger: interval }),
  },
};

it.each([1, 5])("%i steps at a time give the tokens of single ones", async (stepsPerSubmit) => {
  for (const [name, request] of Object.entries(requests)) {
    const { engine, world } = await setUp({ chooses: true, scheduler: { stepsPerSubmit } });
    const { tokenIds } = await engine.generate(request).result;
    expect([...tokenIds], name).toEqual(await alone(request));
    // The prompt's last token is followed by one step at a time, too.
    const together = world.choices.reduce((all, steps) => all + steps, 0);
    expect(together, name).toBe(request.maxTokens);
    expect(Math.max(...world.choices), name).toBe(name === "with sums" ? 1 : stepsPerSubmit);
    expect(world.numHeldBlocks()).toBe(0);
  }
});

it("a batch goes on together, and whoever stops leaves nothing behind", async () => {
  const answers = await Promise.all(
    Object.values(requests)
      .slice(0, 2)
      .map((one) => alone(one)),
  );
  const { engine, world } = await setUp({ chooses: true, scheduler: { stepsPerSubmit: 5 } });
  const asked = Object.values(requests).slice(0, 2);
  // Each stops at a token in the middle of its answer, and of a group.
  const ends = answers.map((ids, i) =>
    ids.findIndex((id, at) => at > 7 + i && !ids.slice(0, at).includes(id)),
  );
  const results = await Promise.all(
    asked.map((request, i) => {
      const stop = { ids: [answers[i]![ends[i]!]!] };
      return engine.generate({ ...request, stop }).result;
    }),
  );
  for (const [i, { tokenIds, kv }] of results.entries()) {
    expect([...tokenIds]).toEqual(answers[i]!.slice(0, ends[i]! + 1));
    const single = await setUp();
    const stop = { ids: [answers[i]![ends[i]!]!] };
    const expected = await single.engine.generate({ ...asked[i]!, stop }).result;
    expect({ ...kv, bytesPeak: 0 }).toEqual({ ...expected.kv, bytesPeak: 0 });
  }
  expect(Math.max(...world.choices)).toBe(5);
  expect(world.numHeldBlocks()).toBe(0);
});

it("logits are looked at where somebody asks for more than the likeliest token", async () => {
  const base = requests.full!;
  for (const more of [
    { sampling: { temperature: 1, seed: 3 } },
    { sampling: { ...greedy, repetitionPenalty: 1.2 } },
    { logprobs: 2 },
    { n: 2 },
  ]) {
    const { engine, world } = await setUp({ chooses: true, scheduler: { stepsPerSubmit: 4 } });
    const request = { ...base, ...more };
    const { tokenIds } = await engine.generate(request).result;
    if (!("n" in more)) expect(world.choices).toEqual([]);
    expect([...tokenIds]).toEqual(await alone(request));
  }
});

it("a backend that draws tokens gives those that the host draws, batch and seeds alike", async () => {
  const sampled = Object.values(requests).map((request, seed) => ({
    ...request,
    sampling: { temperature: [0.8, 0, 1.3][seed]!, seed },
  }));
  const { engine, world } = await setUp({ draws: true });
  const results = await Promise.all(sampled.map((request) => engine.generate(request).result));
  for (const [i, { tokenIds }] of results.entries())
    expect([...tokenIds]).toEqual(await alone(sampled[i]!));
  expect(world.choices.length).toBeGreaterThanOrEqual(40);
  expect(world.numHeldBlocks()).toBe(0);
});

it("logits are looked at where somebody filters them", async () => {
  const request = { ...requests.full!, sampling: { temperature: 0.8, seed: 5, topK: 9 } };
  const { engine, world } = await setUp({ draws: true });
  const { tokenIds } = await engine.generate(request).result;
  expect([...tokenIds]).toEqual(await alone(request));
  expect(world.choices).toEqual([]);
});
