import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { fastKV } from "./index.ts";

testPolicy("fast-kv", () => fastKV());
testPolicy("fast-kv, other parts", () =>
  fastKV({ window: 5, pooling: { kind: "max", size: 3 }, groupReduce: "mean" }),
);

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const [n, window] = [24, 8];

it("sums the window's attention, pooled over 7 neighbours, over the group", async () => {
  const made = tokenCache({ shape, seed: 8, sequences: 1, maxTokens: n, windowSize: window });
  made.feed(0, n, { flags: 1 });
  const { scores, kept } = await compressOnce(made, fastKV(), { ratio: 0.5 });
  const sums = [0, 1].map(() => new Array<number>(n - window).fill(0));
  for (let at = n - window; at < n; at++)
    for (const head of [0, 1]) {
      const query = made.tokens(0, 0, at).query.subarray(head * 4, head * 4 + 4);
      const exps = Array.from({ length: at + 1 }, (_, j) =>
        Math.exp(made.tokens(0, 0, j).key.reduce((dot, k, c) => dot + k * query[c]!, 0) / 2),
      );
      const total = exps.reduce((sum, x) => sum + x, 0);
      sums[head]!.forEach((_, j) => {
        sums[head]![j]! += exps[j]! / total;
      });
    }
  for (let j = 0; j < n - window; j++) {
    const wanted = sums
      .flatMap((own) => own.slice(Math.max(0, j - 3), j + 4))
      .reduce((sum, x) => sum + x / 7, 0);
    expect(Math.abs(scores[0]![j]! - wanted)).toBeLessThan(1e-6);
  }
  expect(kept[0]).toHaveLength(12);
});
