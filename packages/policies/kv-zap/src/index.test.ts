import type { KvShape } from "@kvcache/core";
import { kvZapSurrogateOf } from "@kvcache/scorers";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { kvZap } from "./index.ts";

/** Maps of the block inputs of random tokens, which are three numbers wider than their queries. */
function surrogateFor({ numLayers, numQueryHeads, numKvHeads, headDim }: KvShape, width?: number) {
  const hiddenSize = numQueryHeads * headDim + 3;
  const numbers = (length: number, seed: number) =>
    Float32Array.from({ length }, (_, i) => Math.sin(seed + i * i));
  const layers = Array.from({ length: numLayers }, (_, layer) => ({
    weight1: numbers((width ?? numKvHeads) * hiddenSize, layer),
    bias1: numbers(width ?? numKvHeads, layer + 7),
    ...(width && {
      weight2: numbers(numKvHeads * width, layer + 3),
      bias2: numbers(numKvHeads, layer),
    }),
  }));
  return kvZapSurrogateOf(layers, hiddenSize);
}

testPolicy("kv-zap", (shape) => kvZap({ surrogate: surrogateFor(shape) }));
testPolicy("kv-zap, two maps, while decoding", (shape) =>
  kvZap({ surrogate: surrogateFor(shape, 4), interval: 3 }),
);

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };

it("scores each token by its block input alone", async () => {
  const surrogate = surrogateFor(shape);
  const policy = kvZap({ surrogate });
  const { scorer } = policy;
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 20, windowSize: 0, scorer });
  made.feed(0, 15, { flags: 0 });
  made.feed(0, 5, { flags: 0 });
  const { scores } = await compressOnce(made, policy, { ratio: 0.5 });
  scores.forEach((row, index) => {
    const [layer, head] = [index >> 1, index % 2];
    const { weight1, bias1 } = surrogate.layers[layer]!;
    row.forEach((score, j) => {
      const { hidden } = made.tokens(0, layer, j);
      const product = hidden.reduce((dot, x, c) => dot + x * weight1[head * 11 + c]!, 0);
      expect(score).toBeCloseTo(product + bias1[head]!, 4);
    });
  });
});

it("refuses a plan without surrogates, and says where they come from", () => {
  expect(() => kvZap().scorer.checkShape?.(shape)).toThrow("@kvcache/policy-kv-zap");
});
