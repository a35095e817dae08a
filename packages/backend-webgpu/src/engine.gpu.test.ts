import { createReferenceBackend } from "@kvcache/backend-reference";
import type { Backend, CachePlan } from "@kvcache/core";
import { adaKV, keyRerotation, kvCompress, snapKV, streamingLLM } from "@kvcache/policies";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Answer, eviction, expectSame, smallEngine } from "./small-engine.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";

let device: WebGpuBackend;
beforeAll(async () => {
  device = await createWebGpuBackend();
});
afterAll(() => device.dispose());

const plans: Readonly<Record<string, CachePlan>> = {
  full: {},
  "snap-kv": eviction(snapKV({ window: 8 }), 0.5),
  "ada-kv": eviction(adaKV({ window: 8 }), 0.5),
  "kv-compress": eviction(kvCompress({ interval: 4, protectedWindow: 8 }), 0.5),
  "streaming-llm": eviction(streamingLLM({ interval: 4 }), 0.5),
  "key-rerotation": eviction(keyRerotation(), 0.5),
};

/** Answers of all plans: one by one, then together with chunked prefills. */
async function answers(backend: Backend, maxBatchTokens: number) {
  const { ask, dispose } = await smallEngine(backend, { scheduler: { maxBatchTokens } });
  const all = Object.values(plans);
  const alone: Answer[] = [];
  for (const [i, plan] of all.entries()) alone.push(await ask(i, plan));
  const together = await Promise.all(all.map((plan, i) => ask(i, plan)));
  await dispose();
  return { alone, together };
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
