import { cacheLayout } from "@kvcache/core";
import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type PyramidOptions, pyramid } from "./index.ts";

testBudget("pyramid", () => pyramid());
testBudget("pyramid, reference", () => pyramid({ rule: "reference", beta: 5 }));
testBudget("pyramid, exact", () => pyramid({ rule: "exact", beta: 2.5 }));
testBudget("pyramid, to the letter", () => pyramid({ keepProtected: false }));

/** What a prompt of n tokens keeps in all, one KV head a layer, a window of 8. */
function promised(n: number, tokens: number, numLayers: number, options: PyramidOptions) {
  const shape = { numLayers, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };
  return pyramid(options).resolve({
    target: { tokens },
    lengths: new Uint32Array(numLayers).fill(n),
    nextPosition: n,
    layout: cacheLayout(shape),
    protect: { sinks: 0, recent: 8 },
  });
}

it("hands out what the reference hands out, too much of it included", () => {
  const reference = { rule: "reference", beta: 20 } as const;
  expect(promised(8000, 128, 32, reference)).toBe(4272);
  expect(promised(8000, 2048, 32, reference)).toBe(65552);
  expect(promised(8000, 128, 4, reference)).toBe(512);
  expect(promised(200, 128, 32, reference)).toBe(4096);
});

it("keeps the total in exact mode, whatever the shape", () => {
  for (const [n, tokens, layers, beta] of [
    [8000, 128, 32, 20],
    [700, 333, 7, 3],
    [90, 61, 5, 11.5],
    [64, 33, 1, 20],
  ] as const)
    expect(promised(n, tokens, layers, { rule: "exact", beta })).toBe(layers * tokens);
});

it("splits evenly at beta 1", () => {
  for (const rule of ["kvpress", "reference", "exact"] as const)
    expect(promised(500, 60, 6, { rule, beta: 1 })).toBe(360);
});

it("refuses a pyramid that stands on its head", () => {
  expect(() => pyramid({ beta: 0.5 })).toThrow("beta must be at least 1, got 0.5");
  expect(() => pyramid({ rule: "x" as "exact" })).toThrow('rule cannot be "x"');
});
