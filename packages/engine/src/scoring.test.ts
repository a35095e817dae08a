import {
  compileTokenGrammar,
  createTokenTrie,
  jsonSchemaGrammar,
  topLogprobs,
} from "@kvcache/decoder";
import { afterEach, expect, it } from "vitest";
import type { Engine } from "./engine.ts";
import { createRunner } from "./runner.ts";
import { alone, setUp } from "./test-engine.ts";
import { createWorld, promptOf, VOCAB } from "./test-world.ts";

let engine: Engine | undefined;
afterEach(() => engine?.dispose());

const prompt = promptOf(3, 23);

/** What the model thinks of each token after the first, one sequence by hand. */
async function expectedLogprobs() {
  const runner = await createRunner(createWorld());
  const logits = await runner.open().prefill(prompt, "all");
  await runner.dispose();
  return prompt.slice(1).map((tokenId, i) => ({
    tokenId,
    ...topLogprobs(logits.subarray(i * VOCAB, (i + 1) * VOCAB), tokenId, 2),
  }));
}

it("scores a prompt, in chunks and in spite of cached prefixes, and changes no token", async () => {
  ({ engine } = await setUp({ prefixCache: true, scheduler: { maxBatchTokens: 5 } }));
  await engine.generate({ prompt, maxTokens: 2 }).result;
  const request = { prompt, maxTokens: 4, n: 2, promptLogprobs: 2 };
  const stream = engine.generate(request);
  const { tokenIds, usage } = await stream.result;
  expect(stream.promptLogprobs).toEqual([undefined, ...(await expectedLogprobs())]);
  expect(usage.cachedTokens).toBe(0);
  expect([...tokenIds]).toEqual(await alone({ prompt, maxTokens: 4 }));
});

it("scores a prompt that is preempted on the way", async () => {
  const scheduler = { maxBatchTokens: 6, watermark: 0 };
  const setup = await setUp({ scheduler, numBlocks: 36 });
  engine = setup.engine;
  const urgent = engine.generate({ prompt: promptOf(4, 20), maxTokens: 12, priority: 1 });
  const stream = engine.generate({ prompt, maxTokens: 8, promptLogprobs: 2 });
  await Promise.all([urgent.result, stream.result]);
  expect(stream.promptLogprobs).toEqual([undefined, ...(await expectedLogprobs())]);
});

it("scores a prompt without an answer", async () => {
  ({ engine } = await setUp());
  const stream = engine.generate({ prompt, maxTokens: 0, promptLogprobs: 0 });
  expect(await stream.result).toMatchObject({
    finishReason: "length",
    usage: { completionTokens: 0 },
  });
  expect(stream.promptLogprobs).toHaveLength(prompt.length);
  expect(engine.stats().generatedTokens).toBe(0);
  expect(() => engine!.generate({ prompt, maxTokens: 0 })).toThrow(/maxTokens/);
});

it("ends no answer before minTokens", async () => {
  ({ engine } = await setUp());
  const free = await alone({ prompt, maxTokens: 8 });
  const ids = [free[2]!];
  const short = await engine.generate({ prompt, maxTokens: 8, stop: { ids } }).result;
  expect(short.tokenIds).toHaveLength(free.indexOf(ids[0]!) + 1);
  const long = await engine.generate({ prompt, maxTokens: 8, minTokens: 6, stop: { ids } }).result;
  expect(long.tokenIds.length).toBeGreaterThanOrEqual(6);
  expect([...long.tokenIds.slice(0, 6)]).not.toContain(ids[0]);
});

it("writes texts of a grammar only", async () => {
  ({ engine } = await setUp());
  const spelled = ['{"', '":', "a", "1", "2", "}", " ", '"', "tru", "e", ":"];
  const trie = createTokenTrie(
    {
      isSpecial: () => false,
      tokenBytes: (id) => (spelled[id] ? new TextEncoder().encode(spelled[id]) : undefined),
    },
    VOCAB,
  );
  const schema = { properties: { a: { enum: [1, 21, true] } }, required: ["a"] };
  const grammar = compileTokenGrammar(jsonSchemaGrammar(schema), trie, []);
  const request = { prompt, maxTokens: 40, n: 3, sampling: { temperature: 1, seed: 7 }, grammar };
  const { choices } = await engine.generate(request).result;
  for (const { tokenIds, finishReason } of choices) {
    expect(finishReason).toBe("stop");
    const value = JSON.parse([...tokenIds].map((id) => spelled[id]).join(""));
    expect([1, 21, true]).toContain(value.a);
  }
});
