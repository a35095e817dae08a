import { adaKV } from "@kvcache/policies";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Answer, eviction, expectSame, smallEngine } from "./small-engine.ts";
import { createWebGpuBackend, type WebGpuBackend } from "./webgpu-backend.ts";

let device: WebGpuBackend;
beforeAll(async () => {
  device = await createWebGpuBackend();
});
afterAll(() => device.dispose());

const maxTokens = 32;

const plan = eviction(adaKV({ window: 8 }), 0.5);

it("a compressed sequence is swapped out, comes back and goes on", async () => {
  const roomy = await smallEngine(device);
  const expected: Answer[] = [];
  for (let i = 0; i < 3; i++) expected.push(await roomy.ask(i, plan, maxTokens));
  await roomy.dispose();

  // 40 tokens of 6 rows are 60 blocks, of which compression leaves half; they grow to more.
  const tight = await smallEngine(
    device,
    { scheduler: { watermark: 0, foresight: false, maxStall: Number.POSITIVE_INFINITY } },
    { numBlocks: 112 },
  );
  const got = await Promise.all([0, 1, 2].map((i) => tight.ask(i, plan, maxTokens)));
  const { preemptions, swappedBytes } = tight.engine.stats();
  expect(preemptions.swap).toBeGreaterThan(0);
  expect(swappedBytes).toBe(0);
  let compared = 0;
  got.forEach((answer, i) => {
    compared += expectSame(answer, expected[i]!, `sequence ${i}`);
  });
  expect(compared).toBeGreaterThan(18);
  await tight.dispose();
});
