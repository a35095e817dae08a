import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, type CachePlan, cacheLayout, type EvictionPolicy } from "@kvcache/core";
import { createEngine } from "@kvcache/engine";
import { createPagedCache } from "@kvcache/paged";
import { adaKV, kvCompress, snapKV, streamingLLM } from "@kvcache/policies";
import { afterAll, beforeAll, expect, it } from "vitest";
import { smallModel } from "./small-model.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";

let device: WebGpuBackend;
beforeAll(async () => {
  device = await createWebGpuBackend();
});
afterAll(() => device.dispose());

const eviction = (policy: EvictionPolicy, ratio: number): CachePlan => ({
  eviction: { policy, target: { ratio } },
});
const plans: Readonly<Record<string, CachePlan>> = {
  full: {},
  "snap-kv": eviction(snapKV({ window: 8 }), 0.5),
  "ada-kv": eviction(adaKV({ window: 8 }), 0.5),
  "kv-compress": eviction(kvCompress({ interval: 4, protectedWindow: 8 }), 0.5),
  "streaming-llm": eviction(streamingLLM({ interval: 4 }), 0.5),
};

interface Answer {
  readonly ids: readonly number[];
  /** How far the second-best token was away, at each of them. */
  readonly gaps: readonly number[];
  readonly tokensKept: number;
}

/** Answers of all plans: one by one, then together with chunked prefills. */
async function answers(backend: Backend, maxBatchTokens: number) {
  const { graph, weights } = smallModel();
  const options = {
    layout: cacheLayout(graph.shape, { blockSize: 4 }),
    maxSequences: 8,
    maxTokensPerSequence: 96,
    memoryBytes: 2 ** 20,
    windowSize: 32,
  };
  const cache = (await backend.createCache?.(options)) ?? createPagedCache(options);
  const model = {
    name: "small",
    graph,
    weights,
    tokenizer: undefined,
    generationConfig: { eosTokenIds: [], maxNewTokens: 8 },
    fingerprint: "small",
  };
  const scheduler = { maxBatchTokens };
  const engine = await createEngine({ model, backend, cache, prefixCache: false, scheduler });
  const run = async (plan: CachePlan, i: number): Promise<Answer> => {
    const ids: number[] = [];
    const gaps: number[] = [];
    const stream = engine.generate({
      prompt: Int32Array.from({ length: 40 + 3 * i }, (_, k) => (11 * k + 5 * i) % 61),
      plan,
      maxTokens: 8,
      stop: { ignoreEos: true },
      logprobs: 2,
    });
    for await (const event of stream)
      if (event.type === "token") {
        ids.push(event.tokenId);
        gaps.push(event.topLogprobs![0]!.logprob - event.topLogprobs![1]!.logprob);
      }
    return { ids, gaps, tokensKept: (await stream.result).kv.tokensKept };
  };
  const all = Object.values(plans);
  const alone: Answer[] = [];
  for (const [i, plan] of all.entries()) alone.push(await run(plan, i));
  const together = await Promise.all(all.map(run));
  await engine.dispose();
  cache.dispose();
  return { alone, together };
}

/** Tokens agree up to the first near-tie, behind which two runs may read different texts. */
function expectSame(got: Answer, expected: Answer, what: string) {
  const near = expected.gaps.findIndex((gap) => gap < 1e-3);
  const end = near < 0 ? expected.ids.length : near;
  expect(got.ids.slice(0, end), what).toEqual(expected.ids.slice(0, end));
  expect(got.tokensKept, what).toBe(expected.tokensKept);
  return end;
}

it("serves plans alone and together as the reference backend does", async () => {
  const before = device.counts();
  const own = await answers(device, 24);
  const reference = await answers(createReferenceBackend(), 64);
  let compared = 0;
  Object.keys(plans).forEach((name, i) => {
    compared += expectSame(own.alone[i]!, reference.alone[i]!, `${name} alone`);
    compared += expectSame(own.together[i]!, reference.alone[i]!, `${name} among others`);
  });
  expect(compared, "tokens before a near-tie").toBeGreaterThan(40);
  const lengths = own.alone.map(({ tokensKept }) => tokensKept);
  expect(Math.max(...lengths.slice(1)), "something was evicted").toBeLessThan(lengths[0]!);
  const { buffers, bytes } = device.counts();
  expect({ buffers, bytes }).toEqual({ buffers: before.buffers, bytes: before.bytes });
});
