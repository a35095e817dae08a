import { hostTensor, type StepInput } from "@kvcache/core";
import { drawSettings, drawTokens } from "@kvcache/kernels";
import { expect, test } from "vitest";
import { createNativeSession } from "./native-session.ts";
import { addonForTests } from "./native-test.ts";
import { nextStep, randomDecoder, testCache } from "./test-decoder.ts";

const addon = addonForTests("drawing tokens");

test.runIf(addon)("draws from the logits that forward gives, without showing them", async () => {
  const cache = testCache();
  const session = createNativeSession(addon!, 2, cache.host!);
  const { graph, weights } = randomDecoder({});
  const model = await session.load(graph, weights);
  const [seen, drawn] = [cache.open(), cache.open()];
  const steps = [40, 3, 1, 60].map((tokens): [StepInput, StepInput] => [
    nextStep(cache, [[seen, tokens]]),
    nextStep(cache, [[drawn, tokens]]),
  ]);
  // The steps were made in advance; from here on the cache grows with each pass.
  cache.truncate(seen, 0);
  cache.truncate(drawn, 0);
  const found = new Set<number>();
  for (const [look, choose] of steps) {
    const numRows = look.tokenIds.length;
    cache.append(seen, numRows);
    cache.append(drawn, numRows);
    const logits = await model.forward(look);
    const draws = {
      temperatures: Float64Array.from({ length: numRows }, (_, row) => [0, 0.7, 1, 30][row % 4]!),
      randoms: Float64Array.from({ length: numRows }, (_, row) => ((row * 37) % 101) / 101),
    };
    const tokens = new Int32Array(numRows);
    const settings = hostTensor(drawSettings(draws));
    drawTokens.reference({ logits: hostTensor(logits), settings, tokens: hostTensor(tokens) });
    const got = await model.draw!(choose, draws);
    expect([...got]).toEqual([...tokens]);
    for (const token of got) found.add(token);
  }
  expect(found.size).toBeGreaterThan(20);
  expect(session.fallbacks().get("draw-tokens")).toBeUndefined();
  await session.dispose();
});

test.runIf(addon)("draws nothing from logits that are not finite", async () => {
  const cache = testCache();
  const session = createNativeSession(addon!, 1, cache.host!);
  const encoder = session.encoder();
  const tokens = encoder.tensor("i32", 3);
  const draws = { temperatures: Float64Array.of(0, 1, 0.5), randoms: Float64Array.of(0, 0.5, 1) };
  const logits = [1, Number.NaN, 2, 1, 2, Number.POSITIVE_INFINITY, 0, 1, 2];
  encoder.run(drawTokens, {
    logits: encoder.upload(Float32Array.from(logits)),
    settings: encoder.upload(drawSettings(draws)),
    tokens,
  });
  expect([...((await encoder.read(tokens)) as Int32Array)]).toEqual([-1, -1, 2]);
  expect(session.fallbacks().size).toBe(0);
  await session.dispose();
});
