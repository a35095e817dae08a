import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createOrtBackend } from "@kvcache/backend-ort";
import { type CachePlan, cacheLayout } from "@kvcache/core";
import { loadModel } from "@kvcache/decoder";
import { createEngine, type Engine } from "@kvcache/engine";
import { compact } from "@kvcache/kernels";
import { demoDocumentUrl, modelUrl } from "@kvcache/model-tiny";
import { createPagedCache } from "@kvcache/paged";
import { adaKV, kvCompress, snapKV, streamingLLM } from "@kvcache/policies";
import { expect, it } from "vitest";

const numSequences = 16;
const newTokens = 12;

const eviction = (policy: ReturnType<typeof snapKV>, ratio: number): CachePlan => ({
  eviction: { policy, target: { ratio } },
});
// One policy object a plan: the engine compresses sequences of one policy in one batch.
const plans: readonly CachePlan[] = [
  {},
  eviction(snapKV({ window: 16 }), 0.5),
  eviction(adaKV({ window: 16 }), 0.25),
  eviction(kvCompress({ interval: 4, protectedWindow: 16 }), 0.25),
  eviction(streamingLLM({ interval: 4 }), 0.3),
];

it("16 sequences of different lengths and plans answer as each does alone, aborts among them", async () => {
  const model = await loadModel(fileURLToPath(modelUrl));
  const backend = await createOrtBackend({ mode: "auto" });
  const cache = createPagedCache({
    layout: cacheLayout(model.graph.shape),
    maxSequences: 24,
    maxTokensPerSequence: 512,
    memoryBytes: 2 ** 26,
    windowSize: 32,
    compaction: compact,
  });
  const engine = await createEngine({ model, backend, cache, prefixCache: false });
  const text = model.tokenizer!.encode(readFileSync(demoDocumentUrl, "utf8").slice(0, 12_000));
  const request = (i: number): Parameters<Engine["generate"]>[0] => {
    const length = 40 + ((i * 97) % 330);
    return {
      prompt: text.slice(i * 60, i * 60 + length),
      plan: plans[i % plans.length]!,
      maxTokens: newTokens,
      stop: { ignoreEos: true },
      logprobs: 2,
    };
  };
  /** Tokens, and at each of them how far the second-best was away. */
  const run = async (i: number) => {
    const ids: number[] = [];
    const gaps: number[] = [];
    for await (const event of engine.generate(request(i)))
      if (event.type === "token") {
        ids.push(event.tokenId);
        gaps.push(event.topLogprobs![0]!.logprob - event.topLogprobs![1]!.logprob);
      }
    return { ids, gaps };
  };

  const alone: Awaited<ReturnType<typeof run>>[] = [];
  for (let i = 0; i < numSequences; i++) alone.push(await run(i));
  const aborted = Array.from({ length: 5 }, (_, i) => {
    const controller = new AbortController();
    const stream = engine.generate({
      ...request(i + 3),
      maxTokens: 200,
      signal: controller.signal,
    });
    setTimeout(() => controller.abort(), 40 * (i + 1));
    return stream.result;
  });
  const together = await Promise.all(Array.from({ length: numSequences }, (_, i) => run(i)));
  for (const result of await Promise.all(aborted)) expect(result.finishReason).toBe("abort");

  for (let i = 0; i < numSequences; i++) {
    // Up to the first near-tie, behind which the two runs may read different texts.
    const near = alone[i]!.gaps.findIndex((gap) => gap < 1e-3);
    const end = near < 0 ? newTokens : near;
    expect(together[i]!.ids.slice(0, end), `sequence ${i}`).toEqual(alone[i]!.ids.slice(0, end));
  }
  const { freeBlocks, reclaimableBlocks, totalBlocks } = cache.stats().arenas[0]!;
  expect(freeBlocks + reclaimableBlocks).toBe(totalBlocks);
  await engine.dispose();
  await backend.dispose();
  cache.dispose();
});
