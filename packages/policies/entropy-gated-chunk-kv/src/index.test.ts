import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { scorerFrom } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { entropyGatedChunkKV } from "./index.ts";

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
const scoring = (scores: readonly (readonly number[])[], recent = 0) =>
  definePolicy({
    name: "given",
    paper: "none",
    scorer: scorerFrom("given", [], ({ head, positions }) =>
      Array.from(positions, (position) => scores[head]![position]!),
    ),
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent },
    queryAware: false,
    options: {},
  });

testPolicy("entropy-gated-chunk-kv", () => entropyGatedChunkKV({ chunk: 5, lowEntropyTokens: 2 }));
const wave = [0, 1, 2].map((head) => Array.from({ length: 120 }, (_, j) => Math.sin(head + j * j)));
testPolicy("entropy-gated-chunk-kv over a policy", () =>
  entropyGatedChunkKV({ policy: scoring(wave, 5), chunk: 4, lowEntropyTokens: 3 }),
);
testPolicy("entropy-gated-chunk-kv, to the letter", () =>
  entropyGatedChunkKV({ policy: scoring(wave), chunk: 6, keepProtected: false }),
);

async function keptOf(scores: number[][], options: object, ratio: number) {
  const n = scores[0]!.length;
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  const policy = entropyGatedChunkKV({ policy: scoring(scores), ...options });
  return (await compressOnce(made, policy, { ratio })).kept;
}

it("cuts the spiky one of two good chunks and spends what that saves", async () => {
  // Chunk means 10, 9, 2, 1: the first lives by one token.
  const row = [40, 0, 0, 0, 9, 9, 9, 9, 2, 2, 2, 2, 1, 1, 1, 1];
  const kept = await keptOf([row, row], { chunk: 4, lowEntropyTokens: 1 }, 0.5);
  expect(kept).toEqual([
    [0, 4, 5, 6, 7, 8, 9, 10],
    [0, 4, 5, 6, 7, 8, 9, 10],
  ]);
});

it("takes chunks in order where scores are spread alike, and counts exactly", async () => {
  for (const [n, ratio] of [
    [33, 0.4],
    [40, 0.33],
    [7, 0.5],
  ] as const) {
    const even = new Array<number>(n).fill(0.25);
    const kept = await keptOf([even, even], { chunk: 10, lowEntropyTokens: 3 }, ratio);
    const count = Math.max(1, Math.trunc(n * ratio));
    for (const row of kept) expect(row).toEqual(Array.from({ length: count }, (_, j) => j));
  }
});

it("agrees with the rule, step by step, on scores of any sign", async () => {
  for (let seed = 1; seed < 30; seed++) {
    const n = 20 + ((seed * 7) % 31);
    const size = 3 + (seed % 5);
    const low = 1 + (seed % (size - 1));
    const ratio = 0.1 + (seed % 8) / 10;
    const scores = [0, 1].map((head) =>
      Array.from({ length: n }, (_, j) => Math.sin(seed * 12.9 + head * 78.2 + j * 3.7) ** 3 + 0.1),
    );
    const sums = scores[0]!.map((score, j) => score + scores[1]![j]!);
    const options = { chunk: size, lowEntropyTokens: low };
    const expected = byTheRule(
      sums.map(Math.fround),
      size,
      low,
      Math.max(1, Math.trunc(n * ratio)),
    );
    for (const row of await keptOf(scores, options, ratio)) expect(row).toEqual(expected);
  }
});

function byTheRule(t: number[], size: number, low: number, count: number): number[] {
  const chunks: { start: number; own: number[]; mean: number; entropy: number }[] = [];
  for (let start = 0; start < t.length; start += size) {
    const own = t.slice(start, start + size);
    const shifted = own.map((value) => value - Math.min(0, ...own));
    const sum = shifted.reduce((a, b) => a + b, 0) + 1e-8;
    const h = -shifted.reduce((a, b) => a + (b / sum) * Math.log(b / sum + 1e-8), 0);
    const entropy = own.length === 1 ? 0 : Math.min(1, Math.max(0, h / Math.log(own.length)));
    chunks.push({ start, own, mean: own.reduce((a, b) => a + b, 0) / own.length, entropy });
  }
  const median = (values: number[]) =>
    values.sort((a, b) => a - b)[Math.floor((values.length - 1) / 2)]!;
  const meanLimit = median(chunks.map(({ mean }) => mean));
  const entropyLimit = median(chunks.map(({ entropy }) => entropy));
  const kept: number[] = [];
  const best = (slots: number[], most: number) =>
    slots.sort((a, b) => t[b]! - t[a]!).slice(0, Math.max(0, Math.min(most, count - kept.length)));
  for (const { start, own, mean, entropy } of chunks.sort((a, b) => b.mean - a.mean)) {
    const spiky = mean >= meanLimit && entropy < entropyLimit;
    kept.push(
      ...best(
        [...own.keys()].map((i) => start + i),
        spiky ? low : size,
      ),
    );
  }
  const rest = [...t.keys()].filter((slot) => !kept.includes(slot));
  kept.push(...best(rest, count));
  return kept.sort((a, b) => a - b);
}

it("refuses options that gate nothing", () => {
  expect(() => entropyGatedChunkKV({ chunk: 4, lowEntropyTokens: 4 })).toThrow("below chunk, 4");
});
