import { type BudgetAllocator, cacheLayout, sum } from "@kvcache/core";
import { evenShare, uniformCounts } from "@kvcache/kernels";
import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { layerRatios } from "./index.ts";

const even: BudgetAllocator = {
  name: "even",
  needs: [],
  resolve: (request) => sum(evenShare(request, true)),
  allocate: (encoder, { batch, target, scores }, counts) =>
    encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
};
const shape = { numLayers: 3, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
const request = {
  lengths: new Uint32Array(6).fill(100),
  nextPosition: 100,
  layout: cacheLayout(shape),
  protect: { sinks: 0, recent: 10 },
};

it("keeps given fractions at their mean, and others in proportion", () => {
  const budget = layerRatios({ budget: even, ratios: [0.9, 0.5, 0.1] });
  expect(budget.resolve({ ...request, target: { ratio: 0.5 } })).toBe(2 * (90 + 50 + 10));
  expect(budget.resolve({ ...request, target: { ratio: 0.25 } })).toBe(2 * (45 + 25 + 10));
  expect(budget.resolve({ ...request, target: { tokens: 40 } })).toBe(2 * (72 + 40 + 10));
  expect(budget.resolve({ ...request, target: { ratio: 1 } })).toBe(6 * 100);
  expect(budget.resolve({ ...request, target: { ratio: 0.8 } })).toBe(2 * (100 + 100 + 40));
});

it("refuses ratios of another model", () => {
  const budget = layerRatios({ budget: even, ratios: [1, 0.5] });
  expect(() => budget.checkShape!(shape)).toThrow("2 ratios for 3 layers");
  expect(() => budget.resolve({ ...request, target: { ratio: 0.5 } })).toThrow("2 ratios");
  expect(() => layerRatios({ budget: even, ratios: [0.5, 0] })).toThrow("fractions in (0, 1]");
});

/** The fractions fall from layer to layer, however many of them a case has. */
const falling = (numLayers: number) =>
  layerRatios({
    budget: even,
    ratios: Array.from({ length: numLayers }, (_, layer) => 1 / (layer + 1)),
  });

testBudget("layer-ratios", () => ({
  ...falling(1),
  resolve: (request) => falling(request.layout.shape.numLayers).resolve(request),
  allocate: (encoder, context, counts) =>
    falling(context.batch.shape.numLayers).allocate(encoder, context, counts),
}));
