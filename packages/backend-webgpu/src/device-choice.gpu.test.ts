import { createReferenceBackend } from "@kvcache/backend-reference";
import type { Backend, CachePlan } from "@kvcache/core";
import { adaKV, kvCompress } from "@kvcache/policies";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Answer, eviction, expectSame, smallEngine } from "./small-engine.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";

let device: WebGpuBackend;
beforeAll(async () => {
  device = await createWebGpuBackend();
});
afterAll(() => device.dispose());

const plans: readonly CachePlan[] = [
  {},
  eviction(adaKV({ window: 8 }), 0.5),
  eviction(kvCompress({ interval: 4, protectedWindow: 8 }), 0.5),
];
const maxTokens = 9;

interface Run {
  readonly stepsPerSubmit?: number;
  /** Which makes the host look at logits. */
  readonly logprobs?: boolean;
  readonly together?: boolean;
}

async function answers(backend: Backend, { stepsPerSubmit = 1, logprobs = false, together }: Run) {
  const { ask, engine, dispose } = await smallEngine(backend, { scheduler: { stepsPerSubmit } });
  const askAll = plans.map((plan, i) => () => ask(i, plan, maxTokens, logprobs));
  const all: Answer[] = [];
  if (together) all.push(...(await Promise.all(askAll.map((one) => one()))));
  else for (const one of askAll) all.push(await one());
  const { steps } = engine.stats();
  await dispose();
  return { answers: all, steps };
}

it("tokens chosen on the device are those of the host, however many steps run at once", async () => {
  const reference = await answers(createReferenceBackend(), { logprobs: true });
  const onHost = await answers(device, { logprobs: true });
  const before = device.counts();
  const single = await answers(device, {});
  const grouped = await answers(device, { stepsPerSubmit: 4 });
  const together = await answers(device, { stepsPerSubmit: 4, together: true });
  const { buffers, bytes } = device.counts();
  expect({ buffers, bytes }).toEqual({ buffers: before.buffers, bytes: before.bytes });
  expect(grouped.steps).toBe(onHost.steps);
  let compared = 0;
  onHost.answers.forEach(({ ids, tokensKept }, i) => {
    expect(ids).toHaveLength(maxTokens);
    expect(single.answers[i]!.ids).toEqual(ids);
    expect(grouped.answers[i]!.ids).toEqual(ids);
    expect(grouped.answers[i]!.tokensKept).toBe(tokensKept);
    compared += expectSame(together.answers[i]!, reference.answers[i]!, `plan ${i}`);
  });
  expect(compared).toBeGreaterThan(9);
});
