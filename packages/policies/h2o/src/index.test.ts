import { compressOnce, type TokenCache, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { h2o } from "./index.ts";

testPolicy("h2o", () => h2o());
testPolicy("h2o, kvcache-factory", () => h2o({ variant: "kvcache-factory", window: 4 }));
testPolicy("h2o, of the last queries", () => h2o({ queries: 6, groupReduce: "max" }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const flags = 2;
const start = (n: number, windowSize = 0) => {
  const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 400, windowSize });
  made.feed(0, n, { flags: windowSize > 0 ? 1 : flags });
  return made;
};

/** Attention of a query to the cached positions, per query head. */
function attend(
  { tokens }: TokenCache,
  head: number,
  position: number,
  cached: number[],
): number[] {
  const query = tokens(0, 0, position).query.subarray(head * 4, head * 4 + 4);
  const weights = cached.map((j) => {
    const { key } = tokens(0, 0, j);
    return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / 2);
  });
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  return weights.map((weight) => weight / total);
}

/** Column sums of causal attention over the first n tokens, mean of the group. */
function columnSums(made: TokenCache, n: number): number[] {
  const sums = new Array<number>(n).fill(0);
  for (let position = 0; position < n; position++)
    for (const head of [0, 1]) {
      const cached = Array.from({ length: position + 1 }, (_, j) => j);
      attend(made, head, position, cached).forEach((weight, j) => {
        sums[j]! += weight / 2;
      });
    }
  return sums;
}

it("adds up over prefill and decoding what the full attention matrix holds", async () => {
  const made = start(20);
  for (let i = 0; i < 7; i++) made.feed(0, 1, { flags });
  const { scores } = await compressOnce(made, h2o(), { ratio: 1 });
  columnSums(made, 27).forEach((sum, j) => {
    expect(Math.abs(scores[0]![j]! - sum), `token ${j}`).toBeLessThan(1e-5);
  });
});

it("computes the same from the queries, where they are all kept", async () => {
  const made = start(24, 24);
  const { scores } = await compressOnce(made, h2o({ queries: 24 }), { ratio: 1 });
  columnSums(made, 24).forEach((sum, j) => {
    expect(Math.abs(scores[0]![j]! - sum), `token ${j}`).toBeLessThan(1e-5);
  });
});

it("keeps half for being recent and half for being heavy; what is evicted never returns", async () => {
  const made = start(30);
  const before = columnSums(made, 30);
  const first = await compressOnce(made, h2o(), { tokens: 10 });
  const heavy = [...before.keys()].slice(0, 25).sort((a, b) => before[b]! - before[a]!);
  const recent = [25, 26, 27, 28, 29];
  expect(first.kept[0]).toEqual([...heavy.slice(0, 5).sort((a, b) => a - b), ...recent]);
  for (let i = 0; i < 4; i++) made.feed(0, 1, { flags });
  const second = await compressOnce(made, h2o(), { tokens: 10 }, "decode");
  expect(second.kept[0]).toHaveLength(10);
  const allowed = new Set([...first.kept[0]!, 30, 31, 32, 33]);
  for (const position of second.kept[0]!) expect(allowed.has(position)).toBe(true);
});

it("is a sliding window where everything is for the recent", async () => {
  const { kept } = await compressOnce(start(30), h2o({ recentShare: 1 }), { tokens: 7 });
  expect(kept[0]).toEqual([23, 24, 25, 26, 27, 28, 29]);
});
