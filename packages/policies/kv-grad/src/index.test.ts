import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type GradientNorms, kvGrad } from "./index.ts";

const even: GradientNorms = (_pass, _layer, _from, count) => new Float32Array(count).fill(1);

testPolicy("kv-grad", () => kvGrad({ gradientNorms: even }));
testPolicy("kv-grad, by layer", () =>
  kvGrad({ gradientNorms: even, layerwise: true, sinks: 1, chunk: 9 }),
);

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };

async function scoresWith(gradientNorms: GradientNorms) {
  const policy = kvGrad({ gradientNorms, chunk: 12 });
  const { scorer, protect } = policy;
  const made = tokenCache({
    ...{ shape, seed: 9, sequences: 1, maxTokens: 30, windowSize: 0, scorer, protect },
  });
  made.feed(0, 30, { flags: 0 });
  return (await compressOnce(made, policy, { ratio: 0.5 })).scores;
}

it("weighs what a place receives by the gradient there", async () => {
  const [plain, scaled] = [
    await scoresWith(even),
    await scoresWith((_p, layer, _f, count) => new Float32Array(count).fill(layer === 1 ? 10 : 1)),
  ];
  expect(scaled[0]).toEqual(plain[0]);
  scaled[1]!.forEach((score, j) => {
    if (Number.isFinite(score)) expect(score / plain[1]![j]!).toBeCloseTo(10, 4);
  });
  // Where no gradient flows, nothing counts: the second of three passes repeats tokens 12 to 23.
  const silent = await scoresWith((pass, _layer, _from, count) =>
    new Float32Array(count).fill(pass === 1 ? 0 : 1),
  );
  silent[0]!.forEach((score, j) => {
    if (j >= 4) expect(score).toBe(j >= 12 && j < 24 ? 0 : plain[0]![j]);
  });
});

it("refuses a plan without gradients", () => {
  expect(() => kvGrad().scorer.checkShape?.(shape)).toThrow("run forward only");
});
