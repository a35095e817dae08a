import type { KvShape } from "@kvcache/core";
import { testBudget } from "@kvcache/testing";
import { describe, expect, it } from "vitest";
import { luKV } from "./index.ts";

/** Some fraction for every entry, layer and head, around the target. */
function curveOf({ numLayers, numKvHeads }: KvShape) {
  const rows = numLayers * numKvHeads;
  const fractions = Float32Array.from({ length: 99 * rows }, (_, i) => {
    const target = (Math.floor(i / rows) + 1) / 100;
    return Math.min(0.99, target * (0.6 + 0.8 * ((i * 0.618) % 1)));
  });
  return { shape: [99, numLayers, numKvHeads] as const, fractions };
}

testBudget("lu-kv", (shape) => luKV({ curve: curveOf(shape) }));
testBudget("lu-kv, to the letter", (shape) =>
  luKV({ curve: curveOf(shape), keepProtected: false }),
);

describe("lu-kv", () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };

  it("refuses a plan without a curve, or with that of another model", () => {
    expect(() => luKV().checkShape?.(shape)).toThrow("needs the budget curve");
    const curve = curveOf({ ...shape, numLayers: 3 });
    expect(() => luKV({ curve }).checkShape?.(shape)).toThrow("shape [99,3,2], not [99,2,2]");
  });
});
