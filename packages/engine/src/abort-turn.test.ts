import { type EvictionPolicy, indptrOf } from "@kvcache/core";
import { expect, it } from "vitest";
import { alone, setUp } from "./test-engine.ts";
import { promptOf, testPolicy } from "./test-world.ts";

it("a turn aborted in its compression harms neither the next turn nor others", async () => {
  const controller = new AbortController();
  const policy = testPolicy();
  const score: typeof policy.scorer.score = (...args) => {
    controller.abort();
    policy.scorer.score(...args);
  };
  const aborting = { ...policy, scorer: { ...policy.scorer, score } };
  const plan = { eviction: { policy: aborting, target: { tokens: 6 } } };
  const { engine } = await setUp();
  const session = engine.openSession();
  const other = { prompt: promptOf(9, 30), maxTokens: 40 };
  const bystander = engine.generate(other);
  const turn = { prompt: promptOf(1, 20), maxTokens: 5, plan, session };
  // The next turn begins as soon as the first one's end is known.
  const next = engine
    .generate({ ...turn, signal: controller.signal })
    .result.then(() => engine.generate({ ...turn, prompt: promptOf(2, 20) }).result);
  expect([...(await bystander.result).tokenIds]).toEqual(await alone(other));
  expect((await next).finishReason).toBe("length");
});

it("a turn aborted while its reads are chosen leaves none to the next", async () => {
  const controller = new AbortController();
  let calls = 0;
  const policy: EvictionPolicy = {
    ...testPolicy({ trigger: { prefill: false, pressure: false } }),
    readSelector: {
      name: "first-block",
      needs: [{ kind: "windowQueries", window: 1 }, { kind: "blockBounds" }],
      selectBlocks(encoder, batch) {
        if (++calls === 3) controller.abort();
        return {
          indptr: encoder.upload(indptrOf(Array.from({ length: batch.numRows }, () => 1))),
          indices: encoder.upload(new Uint32Array(batch.numRows)),
        };
      },
    },
  };
  const plan = { eviction: { policy, target: { ratio: 1 } } };
  const { engine } = await setUp();
  const session = engine.openSession();
  const { signal } = controller;
  await engine.generate({ prompt: promptOf(1, 24), maxTokens: 10, plan, session, signal }).result;
  const request = { prompt: promptOf(2, 30), maxTokens: 1, plan };
  const { tokenIds } = await engine.generate({ ...request, session }).result;
  expect([...tokenIds]).toEqual(await alone(request));
});
