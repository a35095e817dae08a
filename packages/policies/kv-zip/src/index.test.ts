import { compressOnce, type TokenCache, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { kvZip } from "./index.ts";

testPolicy("kv-zip", () => kvZip({ chunk: 16 }));
testPolicy("kv-zip, layerwise", () => kvZip({ layerwise: true, sinks: 1 }));
testPolicy("kv-zip, authors", () => kvZip({ variant: "authors", sinks: 2, chunk: 20 }));
testPolicy("kv-zip, authors, rows alike", () =>
  kvZip({ variant: "authors", level: "pair-uniform", sinks: 3 }),
);
testPolicy("kv-zip, whole heads", () => kvZip({ level: "head", recent: 5 }));

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
const n = 25;
const prefilled = (policy = kvZip({ chunk: 10, sinks: 3 })) => {
  const { scorer } = policy;
  const made = tokenCache({ shape, seed: 7, sequences: 1, maxTokens: n, windowSize: 0, scorer });
  made.feed(0, n, { flags: 0 });
  return { made, policy };
};

/** Softmax of a query at `position` over keys at `seen`, for one query head. */
function weights({ tokens }: TokenCache, layer: number, head: number, at: number, seen: number[]) {
  const part = (vector: Float32Array, index: number) => vector.subarray(index * 8, index * 8 + 8);
  const query = part(tokens(0, layer, at).query, head);
  const exps = seen.map((position) => {
    const key = part(tokens(0, layer, position).key, head >> 1);
    return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / Math.sqrt(8));
  });
  const total = exps.reduce((sum, x) => sum + x, 0);
  return exps.map((x) => x / total);
}

const range = (from: number, to: number) => Array.from({ length: to - from }, (_, i) => from + i);

it("scores a token by the most attention it gets while its chunk is repeated", async () => {
  const { made, policy } = prefilled();
  const { scores } = await compressOnce(made, policy, { ratio: 0.5 });
  const first = "\n\nRepeat the previous context exactly.\n".length;
  const later =
    "\n\nRepeat the part of the previous context exactly, starting with".length + 8 + "\n".length;
  for (const layer of [0, 1])
    for (const head of [0, 1])
      for (const start of [0, 10, 20]) {
        const chunk = range(start, Math.min(n, start + 10));
        const most = chunk.map(() => 0);
        const length = (start === 0 ? first : later) + chunk.length;
        for (let at = n; at < n + length; at++)
          for (const queryHead of [2 * head, 2 * head + 1]) {
            const sinks = range(0, Math.min(3, start));
            const seen = [...sinks, ...chunk, ...range(n, at + 1)];
            weights(made, layer, queryHead, at, seen)
              .slice(sinks.length)
              .forEach((weight, j) => {
                if (j < chunk.length) most[j] = Math.max(most[j]!, weight);
              });
          }
        chunk.forEach((position, j) => {
          const score = scores[layer * 2 + head]![position]!;
          if (position < 3) expect(score).toBe(Number.POSITIVE_INFINITY);
          else expect(Math.abs(score - most[j]!)).toBeLessThan(1e-6);
        });
      }
});

it("evicts ⌊N × (1 − ratio)⌋ entries of the whole model, lowest first", async () => {
  const { made, policy } = prefilled();
  const { scores, kept } = await compressOnce(made, policy, { ratio: 0.4 });
  const evicted = Math.trunc(4 * n * 0.6);
  expect(kept.flat()).toHaveLength(4 * n - evicted);
  const all = scores.flatMap((row) => [...row]).sort((a, b) => a - b);
  kept.forEach((positions, row) => {
    for (const p of positions) expect(scores[row]![p]!).toBeGreaterThan(all[evicted - 1]!);
  });
});

it("leaves no entry of the passes behind", async () => {
  const { made, policy } = prefilled();
  await compressOnce(made, policy, { ratio: 1 });
  expect([...made.cache.sequenceStats(0).lengths]).toEqual([n, n, n, n]);
  expect(made.cache.sequenceStats(0).nextPosition).toBe(n);
});

it("refuses what does not go together", () => {
  expect(() => kvZip({ variant: "authors", layerwise: true })).toThrow("layerwise");
  expect(() => kvZip({ chunk: 0 })).toThrow("chunk must be");
});
