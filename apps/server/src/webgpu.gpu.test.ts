import { snapKV } from "@kvcache/policies";
import { expect, it } from "vitest";
import { assemble } from "./assemble.ts";

it("assembles an engine on WebGPU that compresses and answers", async () => {
  const plan = { eviction: { policy: snapKV({ window: 4 }), target: { tokens: 8 } } };
  const run = await assemble({
    model: "tiny",
    backend: "webgpu",
    dtype: "f32",
    kvDtype: "f16",
    blockSize: 4,
    kvMemory: 2 ** 22,
    maxSequences: 2,
    plans: [plan],
  });
  const { result } = run.engine.generate({
    prompt: "The quick brown fox jumps over the lazy dog and",
    plan,
    maxTokens: 3,
    stop: { ignoreEos: true },
  });
  const { tokenIds, kv } = await result;
  expect(tokenIds.length).toBe(3);
  expect(kv.tokensKept).toBeLessThan(kv.tokensSeen);
  await run.close();
});
