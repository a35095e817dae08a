import { createReferenceBackend } from "@kvcache/backend-reference";
import { type CachePlan, cacheLayout, definePolicy, type WeightSource } from "@kvcache/core";
import { buildGraph, parseConfig } from "@kvcache/decoder";
import { keyNorm, recordTopK, uniformCounts } from "@kvcache/kernels";
import { createPagedCache } from "@kvcache/paged";
import { expect, it } from "vitest";
import { createEngine } from "./engine.ts";
import { createRunner } from "./runner.ts";
import type { ServedModel } from "./runtime.ts";
import { mix, promptOf } from "./test-world.ts";

const config = parseConfig({
  architectures: ["LlamaForCausalLM"],
  model_type: "llama",
  hidden_size: 16,
  intermediate_size: 24,
  num_attention_heads: 4,
  num_key_value_heads: 2,
  num_hidden_layers: 2,
  max_position_embeddings: 256,
  vocab_size: 61,
  tie_word_embeddings: true,
});

/** A Llama with random weights, seeded by the tensors' names. */
function randomLlama(): ServedModel {
  const [hidden, inner, keyWidth] = [16, 24, 8];
  const shapeOf = (name: string): number[] => {
    if (name.includes("norm")) return [hidden];
    if (name.includes("embed")) return [61, hidden];
    if (/[kv]_proj/.test(name)) return [keyWidth, hidden];
    if (/gate|up/.test(name)) return [inner, hidden];
    return name.includes("down") ? [hidden, inner] : [hidden, hidden];
  };
  const weights: WeightSource = {
    has: (name) => name !== "lm_head.weight",
    get(name) {
      const shape = shapeOf(name);
      const size = shape.reduce((a, b) => a * b, 1);
      const seed = [...name].reduce((hash, c) => mix(hash, c.charCodeAt(0), 1), 0);
      const values = Float32Array.from({ length: size }, (_, i) =>
        name.includes("norm") ? 1 : (mix(seed, i, 2) / 2 ** 31 - 1) * 0.7,
      );
      return { dtype: "f32", shape, data: new Uint8Array(values.buffer) };
    },
  };
  return {
    name: "random",
    graph: buildGraph({ ...config, headWeight: config.embeddingWeight }),
    weights,
    tokenizer: undefined,
    generationConfig: { eosTokenIds: [], maxNewTokens: undefined },
    fingerprint: "random",
  };
}

const model = randomLlama();
const options = () => ({
  model,
  backend: createReferenceBackend(),
  cache: createPagedCache({
    layout: cacheLayout(model.graph.shape, { blockSize: 4 }),
    maxTokensPerSequence: 256,
    numBlocks: 800,
    windowSize: 8,
  }),
});

const plan: CachePlan = {
  eviction: {
    target: { tokens: 9 },
    policy: definePolicy({
      name: "largest-keys",
      paper: "none",
      scorer: {
        name: "key-norm",
        needs: [],
        score: (encoder, batch, out) => encoder.run(keyNorm, { batch, out }),
      },
      budget: {
        name: "uniform",
        needs: [],
        resolve: ({ lengths }) => 9 * lengths.length,
        allocate: (encoder, { batch, target, scores }, counts) =>
          encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
      },
      selector: {
        name: "top-k",
        select: (encoder, batch, scores, counts) => recordTopK(encoder, batch, scores, counts),
      },
      trigger: { prefill: true, interval: 4, pressure: false },
      protect: { sinks: 0, recent: 2 },
      queryAware: false,
      options: {},
    }),
  },
};

it("gives the same logits in one call, in chunks and one by one", async () => {
  const runner = await createRunner({ ...options(), maxBatchTokens: 7 });
  const ids = promptOf(1, 20);
  const whole = await (await createRunner(options())).open().prefill(ids, "all");
  expect(await runner.open().prefill(ids, "all")).toEqual(whole);
  const sequence = runner.open();
  await sequence.prefill(ids.slice(0, 5));
  expect(await sequence.feed(ids.slice(5))).toEqual(whole.subarray(5 * 61));
  expect(sequence.length).toBe(20);
  expect(sequence.stats().nextPosition).toBe(20);
});

it("generates what the engine generates, with and without a plan", async () => {
  const runner = await createRunner(options());
  const engine = await createEngine(options());
  const requests = [1, 2, 3, 4].map((seed) => ({
    prompt: promptOf(seed, 10 + 7 * seed),
    maxTokens: 14,
    plan: seed % 2 ? plan : {},
  }));
  const results = await Promise.all(requests.map((request) => engine.generate(request).result));
  for (const [i, request] of requests.entries()) {
    const sequence = runner.open(request.plan);
    await sequence.prefill(request.prompt);
    expect(await sequence.greedy(14)).toEqual(results[i]!.tokenIds);
    expect(sequence.stats().lengths[0]).toBe(results[i]!.kv.tokensKept);
    sequence.close();
  }
  expect(runner.runtime.cache.stats().sequences).toBe(0);
  await engine.dispose();
});

it("keeps exactly the slots it is told to keep", async () => {
  const runner = await createRunner(options());
  const ids = promptOf(1, 20);
  const compressed = runner.open(plan);
  await compressed.prefill(ids);
  await compressed.compress();
  const { host } = runner.runtime.cache;
  const kept: number[] = [];
  for (let row = 0; row < 4; row++) {
    const table = (compressed.slot * 4 + row) * host!.maxBlocksPerRow;
    for (let j = 0; j < 9; j++) {
      const block = host!.blockTables[table + Math.floor(j / 4)]!;
      kept.push(host!.arenas[0]!.positions[block * 4 + (j % 4)]!);
    }
    kept.push(...kept.splice(-9).sort((a, b) => a - b));
  }
  const told = runner.open();
  await told.prefill(ids);
  await told.keep(Uint32Array.of(0, 9, 18, 27, 36), Uint32Array.from(kept));
  expect([...told.stats().lengths]).toEqual([9, 9, 9, 9]);
  const [a, b] = [await compressed.feed([3]), await told.feed([3])];
  // Slots stand in another order, so sums round differently.
  for (const [i, logit] of a.entries()) expect(logit).toBeCloseTo(b[i]!, 4);
  await expect(told.compress()).rejects.toMatchObject({ code: "invalid-argument" });
});
