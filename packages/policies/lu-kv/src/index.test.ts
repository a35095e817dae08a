import { definePolicy, type KvShape } from "@kvcache/core";
import { budgetCurveOf, keyNorm } from "@kvcache/scorers";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { luKV } from "./index.ts";

/** Every target evicts about itself, some heads more than others. */
function curveFor({ numLayers, numKvHeads }: KvShape) {
  const rows = numLayers * numKvHeads;
  const data = Float32Array.from({ length: 99 * rows }, (_, i) =>
    Math.min(0.98, ((Math.floor(i / rows) + 1) / 100) * (0.8 + 0.4 * ((i % rows) / rows))),
  );
  return budgetCurveOf({ shape: [99, numLayers, numKvHeads], data });
}

testPolicy("lu-kv", (shape) => luKV({ curve: curveFor(shape) }));
testPolicy("lu-kv, wide ends", (shape) => luKV({ curve: curveFor(shape), sinks: 1, recent: 6 }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };

it("keeps each head's best by another policy's scores, as many as the curve says", async () => {
  const policy = definePolicy({
    ...luKV(),
    name: "by-norm",
    scorer: keyNorm(),
    options: { some: 1 },
  });
  const data = new Float32Array(99 * 2).fill(0.9);
  // Half evicted: 20 % of the first head's tokens, 75 % of the second's.
  data.set([0.2, 0.75], 49 * 2);
  const wrapped = luKV({ curve: budgetCurveOf({ shape: [99, 1, 2], data }), policy });
  expect(wrapped.options.policy).toEqual({ name: "by-norm", some: 1 });
  const made = tokenCache({
    ...{ shape, seed: 4, sequences: 1, maxTokens: 40, windowSize: 0, protect: wrapped.protect },
  });
  made.feed(0, 40, { flags: 0 });
  const { scores, kept } = await compressOnce(made, wrapped, { ratio: 0.5 });
  expect(kept.map((row) => row.length)).toEqual([32, 10]);
  kept.forEach((row, head) => {
    expect(row).toEqual(expect.arrayContaining([0, 1, 2, 3, 39]));
    const evicted = [...scores[head]!].filter((_, j) => !row.includes(j));
    for (const j of row) expect(scores[head]![j]).toBeGreaterThanOrEqual(Math.max(...evicted));
  });
});

it("refuses a plan without a curve, and says where it comes from", () => {
  expect(() => luKV().budget.checkShape?.(shape)).toThrow("@kvcache/policy-lu-kv");
});
