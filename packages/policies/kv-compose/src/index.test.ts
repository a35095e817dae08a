import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type KvComposeOptions, kvCompose } from "./index.ts";

testPolicy("kv-compose", () => kvCompose());
testPolicy("kv-compose, unstructured", () => kvCompose({ structured: false, minimumTokens: 2 }));
testPolicy("kv-compose, other means", () =>
  kvCompose({
    aggregateQueries: "mean",
    aggregateGroup: "max",
    aggregateHeads: "max",
    valueNorm: true,
    addHeadMean: false,
  }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const n = 14;

async function scoresOf(options: KvComposeOptions) {
  const policy = kvCompose(options);
  const { scorer } = policy;
  const made = tokenCache({ shape, seed: 9, sequences: 1, maxTokens: n, windowSize: 0, scorer });
  made.feed(0, n, { flags: 0 });
  return { made, ...(await compressOnce(made, policy, { ratio: 0.5 })) };
}

/** Attention of the second pass, at positions n … 2n − 1, to the n cached tokens: [n queries][n]. */
function attention(
  { tokens }: Awaited<ReturnType<typeof scoresOf>>["made"],
  layer: number,
  head: number,
) {
  return Array.from({ length: n }, (_, i) => {
    const { query } = tokens(0, layer, n + i);
    const exps = Array.from({ length: n + i + 1 }, (_, j) => {
      const { key } = tokens(0, layer, j);
      let dot = 0;
      for (let c = 0; c < 4; c++) dot += query[head * 4 + c]! * key[(head >> 1) * 4 + c]!;
      return Math.exp(dot / 2);
    });
    const total = exps.reduce((sum, x) => sum + x, 0);
    return exps.slice(0, n).map((x) => x / total);
  });
}

const most = (values: number[]) => Math.max(...values);
const mean = (values: number[]) => values.reduce((sum, x) => sum + x, 0) / values.length;

for (const [title, options, overQueries, overGroup] of [
  ["the group's mean of maxima", {}, most, mean],
  [
    "the group's maximum of means, by value norms",
    { aggregateQueries: "mean", aggregateGroup: "max", valueNorm: true },
    mean,
    most,
  ],
] as const)
  it(`scores by ${title}, plus the mean over heads`, async () => {
    const { made, scores } = await scoresOf(options);
    for (const layer of [0, 1]) {
      const plain = [0, 1].map((head) => {
        const maps = [2 * head, 2 * head + 1].map((h) => attention(made, layer, h));
        return Array.from({ length: n }, (_, j) => {
          const { value } = made.tokens(0, layer, j);
          const norm = Math.hypot(...value.subarray(head * 4, head * 4 + 4));
          const score = overGroup(maps.map((rows) => overQueries(rows.map((row) => row[j]!))));
          return "valueNorm" in options ? score * norm : score;
        });
      });
      for (const head of [0, 1])
        for (let j = 0; j < n; j++) {
          const wanted = plain[head]![j]! + mean(plain.map((own) => own[j]!));
          expect(Math.abs(scores[layer * 2 + head]![j]! - wanted)).toBeLessThan(1e-6);
        }
    }
  });

it("keeps equally many tokens in the heads of a layer, ⌊L × n × ratio⌋ a head in all", async () => {
  const { kept } = await scoresOf({});
  const lengths = kept.map((row) => row.length);
  expect(lengths[0]).toBe(lengths[1]);
  expect(lengths[2]).toBe(lengths[3]);
  expect(lengths[0]! + lengths[2]!).toBe(n);
});
