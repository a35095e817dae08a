import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { createOrtBackend } from "@kvcache/backend-ort";
import { createReferenceBackend } from "@kvcache/backend-reference";
import { type Backend, cacheLayout } from "@kvcache/core";
import { loadModel, memoryFiles, openSafetensors } from "@kvcache/decoder";
import { createRunner } from "@kvcache/engine";
import { modelUrl } from "@kvcache/model-tiny";
import { createPagedCache } from "@kvcache/paged";
import { describe, expect, it } from "vitest";

interface GoldenPrompt {
  readonly name: string;
  readonly tokens: number;
  readonly greedy32: readonly number[];
  readonly input_ids: readonly number[];
}

const golden = (file: string) => readFileSync(new URL(`../golden/${file}`, modelUrl));
const { prompts } = JSON.parse(golden("golden.json").toString()) as { prompts: GoldenPrompt[] };

async function expectedLogits(name: string): Promise<Float32Array> {
  const bytes = golden("golden.safetensors");
  const weights = await openSafetensors(memoryFiles([["model.safetensors", bytes]]));
  const { data } = weights.get(`${name}.logits_last4`);
  return new Float32Array(Uint8Array.from(data).buffer);
}

async function check(backend: Backend, prompt: GoldenPrompt): Promise<void> {
  const model = await loadModel(fileURLToPath(modelUrl));
  const cache = createPagedCache({
    layout: cacheLayout(model.graph.shape),
    maxSequences: 2,
    maxTokensPerSequence: 2176,
    memoryBytes: 2 ** 25,
  });
  const runner = await createRunner({ model, backend, cache });
  const sequence = runner.open();
  const ids = prompt.input_ids;
  await sequence.prefill(ids.slice(0, -4));
  const logits = await sequence.feed(ids.slice(-4));
  const expected = await expectedLogits(prompt.name);
  let worst = 0;
  for (let i = 0; i < expected.length; i++)
    worst = Math.max(worst, Math.abs(logits[i]! - expected[i]!));
  expect(logits.length).toBe(expected.length);
  expect(worst).toBeLessThanOrEqual(1e-3);
  expect([...(await sequence.greedy(32))]).toEqual(prompt.greedy32);
  await runner.dispose();
  await backend.dispose();
  cache.dispose();
}

const native = await createOrtBackend({ mode: "auto" });
const isNative = native.description.startsWith("ort native");
await native.dispose();
if (!isNative) console.log(`skipped: goldens on native onnxruntime (${native.description})`);
const slow = process.env.KVCACHE_SLOW_TESTS === "1";
if (!slow)
  console.log(
    "skipped: goldens above 320 tokens on the reference backend (KVCACHE_SLOW_TESTS=1 runs them)",
  );

describe.each(prompts)("golden prompt of $tokens tokens", (prompt) => {
  it("on ort segmented", async () =>
    check(await createOrtBackend({ mode: "segmented", worker: false }), prompt));
  if (isNative)
    it("on ort native", async () => check(await createOrtBackend({ mode: "native" }), prompt));
  if (slow || prompt.tokens <= 320)
    it("on the reference", () => check(createReferenceBackend(), prompt), 300_000);
});
