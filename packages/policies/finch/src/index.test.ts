import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type FinchOptions, finch } from "./index.ts";

testPolicy("finch", () => finch({ window: 6 }));
testPolicy("finch, in chunks, positions kept", () =>
  finch({ window: 4, chunk: 8, rerotate: false, normalize: false }),
);

const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [n, window] = [26, 5];

async function run(options: FinchOptions, ratio: number) {
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: n, windowSize: window });
  made.feed(0, n, { flags: 1 });
  return { made, ...(await compressOnce(made, finch({ window, ...options }), { ratio })) };
}

for (const normalize of [true, false])
  it(`means the question's attention, ${normalize ? "" : "not "}times its positions`, async () => {
    const { made, scores } = await run({ normalize }, 0.5);
    for (const head of [0, 1]) {
      const wanted = new Array<number>(n - window).fill(0);
      for (let at = n - window; at < n; at++)
        for (const queryHead of [2 * head, 2 * head + 1]) {
          const query = made.tokens(0, 0, at).query.subarray(queryHead * 4, queryHead * 4 + 4);
          const exps = Array.from({ length: at + 1 }, (_, j) => {
            const key = made.tokens(0, 0, j).key.subarray(head * 4, head * 4 + 4);
            return Math.exp(key.reduce((dot, k, c) => dot + k * query[c]!, 0) / 2);
          });
          const total = exps.reduce((sum, x) => sum + x, 0);
          wanted.forEach((_, j) => {
            wanted[j]! += ((exps[j]! / total) * (normalize ? at : 1)) / window / 2;
          });
        }
      wanted.forEach((score, j) => {
        expect(Math.abs(scores[head]![j]! - score)).toBeLessThan(1e-5);
      });
    }
  });

it("moves what it keeps to the first positions", async () => {
  const { made, kept } = await run({}, 0.5);
  expect(kept).toEqual([0, 1].map(() => Array.from({ length: 13 }, (_, place) => place)));
  expect(made.cache.sequenceStats(0).nextPosition).toBe(13);
});

it("keeps the same part of every chunk, and the question", async () => {
  const { kept } = await run({ chunk: 10, rerotate: false }, 0.3);
  for (const row of kept) {
    const perChunk = [0, 10, 20].map(
      (from) => row.filter((p) => p >= from && p < from + 10).length,
    );
    expect(perChunk).toEqual([3, 3, 5]);
    expect(row.slice(-window)).toEqual([21, 22, 23, 24, 25]);
  }
});
