import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, cacheLayout } from "@kvcache/core";
import { loadModel, memoryFiles, openSafetensors } from "@kvcache/decoder";
import { createRunner } from "@kvcache/engine";
import { modelUrl } from "@kvcache/model-tiny";
import { createPagedCache } from "@kvcache/paged";
import { expect, it } from "vitest";
import { worst } from "./test-gpu.ts";
import { createWebGpuBackend } from "./webgpu-backend.ts";

interface GoldenPrompt {
  readonly name: string;
  readonly tokens: number;
  readonly greedy32: readonly number[];
  readonly input_ids: readonly number[];
}

const golden = (file: string) => readFileSync(new URL(`../golden/${file}`, modelUrl));
const { prompts } = JSON.parse(golden("golden.json").toString()) as { prompts: GoldenPrompt[] };

// Software drivers do less than 1 GFLOP/s: the shortest golden prompt, of 320 tokens, takes minutes.
const longest = Number(process.env.KVCACHE_GOLDEN_TOKENS ?? 0);
if (prompts.some(({ tokens }) => tokens > longest))
  console.log(
    `skipped: golden prompts above ${longest} tokens (KVCACHE_GOLDEN_TOKENS=320 runs the shortest)`,
  );

it("the shipped model on 13 tokens, as the reference backend has it", async () => {
  const model = await loadModel(fileURLToPath(modelUrl));
  const options = {
    layout: cacheLayout(model.graph.shape),
    maxSequences: 1,
    maxTokensPerSequence: 48,
    memoryBytes: 2 ** 22,
  };
  const run = async (backend: Backend) => {
    const cache = (await backend.createCache?.(options)) ?? createPagedCache(options);
    const runner = await createRunner({ model, backend, cache });
    const sequence = runner.open();
    const ids = prompts[0]!.input_ids;
    const first = await sequence.prefill(ids.slice(0, 12), "all");
    const next = await sequence.feed(ids.slice(12, 13));
    await runner.dispose();
    await backend.dispose();
    return [...first, ...next];
  };
  const expected = await run(createReferenceBackend());
  expect(worst(await run(await createWebGpuBackend()), expected)).toBeLessThan(1e-3);
});

it.each(prompts.filter(({ tokens }) => tokens <= longest))(
  "golden prompt of $tokens tokens",
  async ({ name, input_ids: ids, greedy32 }) => {
    const backend = await createWebGpuBackend();
    const model = await loadModel(fileURLToPath(modelUrl));
    const cache = await backend.createCache({
      layout: cacheLayout(model.graph.shape),
      maxSequences: 1,
      maxTokensPerSequence: ids.length + 48,
      memoryBytes: 2 ** 25,
    });
    const runner = await createRunner({ model, backend, cache });
    const sequence = runner.open();
    await sequence.prefill(ids.slice(0, -4));
    const logits = await sequence.feed(ids.slice(-4));
    const files = memoryFiles([["model.safetensors", golden("golden.safetensors")]]);
    const { data } = (await openSafetensors(files)).get(`${name}.logits_last4`);
    expect(worst(logits, new Float32Array(Uint8Array.from(data).buffer))).toBeLessThan(2e-3);
    expect([...(await sequence.greedy(8))]).toEqual(greedy32.slice(0, 8));
    await runner.dispose();
    await backend.dispose();
  },
  600_000,
);
