import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { kvZipPlus } from "./index.ts";

testPolicy("kv-zip-plus", () => kvZipPlus({ chunk: 16 }));
testPolicy("kv-zip-plus, layerwise", () => kvZipPlus({ layerwise: true, sinks: 1 }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const n = 12;

it("weighs attention by ‖W_O v‖ over the size of the block's input", async () => {
  const policy = kvZipPlus({ sinks: 0 });
  const { scorer } = policy;
  const made = tokenCache({ shape, seed: 4, sequences: 1, maxTokens: n, windowSize: 0, scorer });
  made.feed(0, n, { flags: 0 });
  const { scores } = await compressOnce(made, policy, { ratio: 0.5 });
  const length = "\n\nRepeat the previous context exactly.\n".length + n;
  const { hiddenSize, outputWeight } = made.batch("prefill").model!;
  const most = new Array<number>(n).fill(0);
  for (let at = n; at < n + length; at++)
    for (const head of [0, 1]) {
      const { query, hidden } = made.tokens(0, 0, at);
      const exps = Array.from({ length: at + 1 }, (_, j) => {
        const { key } = made.tokens(0, 0, j);
        const dot = key.reduce((sum, k, c) => sum + k * query[head * 4 + c]!, 0);
        return Math.exp(dot / 2);
      });
      const total = exps.reduce((sum, x) => sum + x, 0) * Math.hypot(...hidden);
      for (let j = 0; j < n; j++) {
        const { value } = made.tokens(0, 0, j);
        const written = Array.from({ length: hiddenSize }, (_, i) =>
          value.reduce((sum, v, c) => sum + v * outputWeight(0)[i * 8 + head * 4 + c]!, 0),
        );
        most[j] = Math.max(most[j]!, (exps[j]! / total) * Math.hypot(...written));
      }
    }
  most.forEach((score, j) => {
    expect(Math.abs(scores[0]![j]! - score)).toBeLessThan(1e-5 * (1 + score));
  });
});
