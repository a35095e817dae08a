import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { snapKV } from "./index.ts";

testPolicy("snap-kv", () => snapKV({ window: 8 }));
testPolicy("snap-kv, kvcache-factory", () => snapKV({ variant: "kvcache-factory", window: 6 }));

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
const [n, window] = [41, 6];
const prefilled = () => {
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: n, windowSize: window });
  made.feed(0, n, { flags: 1 });
  return made;
};

/** Attention of the query head's last queries to the tokens before the window: [window, n − window]. */
function attention(
  tokens: ReturnType<typeof prefilled>["tokens"],
  layer: number,
  queryHead: number,
) {
  const { headDim } = shape;
  const head = Math.floor(queryHead / 2);
  const part = (vector: Float32Array, index: number) =>
    vector.subarray(index * headDim, (index + 1) * headDim);
  return Array.from({ length: window }, (_, i) => {
    const position = n - window + i;
    const query = part(tokens(0, layer, position).query, queryHead);
    const weights = Array.from({ length: position + 1 }, (_, j) => {
      const key = part(tokens(0, layer, j).key, head);
      return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / Math.sqrt(headDim));
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return weights.slice(0, n - window).map((weight) => weight / total);
  });
}

const columns = (rows: number[][], scale: number) =>
  rows[0]!.map((_, j) => rows.reduce((sum, row) => sum + row[j]!, 0) * scale);
const neighbours = (values: number[], j: number, size: number) =>
  values.slice(Math.max(0, j - (size >> 1)), j + (size >> 1) + 1);

it("scores by the mean over window and group of average-pooled attention", async () => {
  const made = prefilled();
  const { scores } = await compressOnce(made, snapKV({ window }), { ratio: 0.5 });
  for (const [row, got] of scores.entries()) {
    const perHead = [0, 1].map((g) => {
      const mean = columns(attention(made.tokens, row >> 1, 2 * (row % 2) + g), 1 / window);
      return mean.map((_, j) => neighbours(mean, j, 5).reduce((sum, a) => sum + a, 0) / 5);
    });
    columns(perHead, 1 / 2).forEach((score, j) => {
      expect(Math.abs(got[j]! - score), `row ${row}, token ${j}`).toBeLessThan(1e-7);
    });
    expect([...got.slice(n - window)]).toEqual(new Array(window).fill(Number.POSITIVE_INFINITY));
  }
});

it("sums and max-pools the group's mean as KVCache-Factory does", async () => {
  const made = prefilled();
  const policy = snapKV({ variant: "kvcache-factory", window, groupReduce: "max" });
  const { scores, kept } = await compressOnce(made, policy, { tokens: 17 });
  for (const [row, got] of scores.entries()) {
    const sums = [0, 1].map((g) => columns(attention(made.tokens, row >> 1, 2 * (row % 2) + g), 1));
    const most = sums[0]!.map((a, j) => Math.max(a, sums[1]![j]!));
    most.forEach((_, j) => {
      const score = Math.max(...neighbours(most, j, 7));
      expect(Math.abs(got[j]! - score), `row ${row}, token ${j}`).toBeLessThan(1e-6);
    });
    expect(kept[row]).toHaveLength(17);
  }
});
