import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { leverageScore } from "./index.ts";

testPolicy("leverage-score", () => leverageScore());
testPolicy("leverage-score, small sketch", () => leverageScore({ sketch: 3, seed: 5 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 6 };

it("standardises over a layer, and agrees with itself under any wide sketch", async () => {
  const made = (seed: number) => {
    const cache = tokenCache({ shape, seed: 4, sequences: 1, maxTokens: 60, windowSize: 0 });
    cache.feed(0, 60, { flags: 0 });
    return compressOnce(cache, leverageScore({ sketch: 400, seed }), { ratio: 0.5 });
  };
  const [first, second] = [await made(0), await made(1)];
  for (const layer of [0, 1]) {
    const all = first.scores.slice(2 * layer, 2 * layer + 2).flatMap((row) => [...row]);
    const mean = all.reduce((sum, x) => sum + x, 0) / all.length;
    const variance = all.reduce((sum, x) => sum + (x - mean) ** 2, 0) / (all.length - 1);
    expect(mean).toBeCloseTo(0, 5);
    expect(variance).toBeCloseTo(1, 5);
    const other = second.scores.slice(2 * layer, 2 * layer + 2).flatMap((row) => [...row]);
    const likeness = all.reduce((sum, x, i) => sum + x * other[i]!, 0) / (all.length - 1);
    expect(likeness).toBeGreaterThan(0.9);
  }
});
