import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { quarterOfLayers, reviewWindows } from "./index.ts";

testBudget("review-windows", () => reviewWindows({ windowSize: 3 }));
testBudget("review-windows, one group", () =>
  reviewWindows({ groupLayers: ({ numLayers }) => numLayers }),
);

it("groups a quarter of the layers where it can", () => {
  const shape = { numLayers: 28, numQueryHeads: 1, numKvHeads: 1, headDim: 1 };
  expect(quarterOfLayers(shape)).toBe(7);
  expect(quarterOfLayers({ ...shape, numLayers: 6 })).toBe(1);
});

it("refuses groups that do not divide the layers, and options out of range", () => {
  const shape = { numLayers: 6, numQueryHeads: 1, numKvHeads: 1, headDim: 1 };
  const budget = reviewWindows({ groupLayers: () => 4 });
  expect(() => budget.checkShape?.(shape)).toThrow("Groups of 4 layers do not divide a model of 6");
  expect(() => reviewWindows({ windowSize: 0 })).toThrow("windowSize");
  expect(() => reviewWindows({ beta: 0 })).toThrow("beta must be at least 1");
});
