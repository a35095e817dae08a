import type { KvShape } from "@kvcache/core";
import { qFiltersOf } from "@kvcache/scorers";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { qFilters } from "./index.ts";

const filtersFor = ({ numLayers, numKvHeads, headDim }: KvShape, sign = 1) =>
  qFiltersOf(
    [numLayers, numKvHeads, headDim],
    Float32Array.from({ length: numLayers * numKvHeads * headDim }, (_, i) => sign * Math.cos(i)),
  );

testPolicy("q-filters", (shape) => qFilters({ filters: filtersFor(shape) }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };

it("keeps the keys that project least; other filters keep the others", async () => {
  const run = (sign: number) => {
    const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 20, windowSize: 0 });
    made.feed(0, 20, { flags: 0 });
    const policy = qFilters({ filters: filtersFor(shape, sign) });
    return { made, done: compressOnce(made, policy, { ratio: 0.5 }) };
  };
  const [plus, minus] = [run(1), run(-1)];
  const { scores, kept } = await plus.done;
  scores[1]!.forEach((score, j) => {
    const key = plus.made.tokens(0, 0, j).key.subarray(4, 8);
    expect(score).toBeCloseTo(-key.reduce((dot, k, c) => dot + k * Math.cos(4 + c), 0), 5);
  });
  const others = (await minus.done).kept;
  for (const head of [0, 1])
    expect([...kept[head]!, ...others[head]!].sort((a, b) => a - b)).toEqual(
      Array.from({ length: 20 }, (_, j) => j),
    );
});

it("refuses a plan without filters, and says where they come from", () => {
  expect(() => qFilters().scorer.checkShape?.(shape)).toThrow("@kvcache/policy-q-filters");
});
