import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { dbudget, type WatchedAttention } from "./index.ts";

/** Attention that is nowhere: its norm is 0, and nothing may be lost of it. */
const attention: WatchedAttention = { needs: [], record: () => {} };

testBudget("dbudget", () => dbudget({ attention, skipLayers: [] }));
testBudget("dbudget, a layer exempt", () => dbudget({ attention, skipLayers: [0] }));

it("looks at the last query", () => {
  expect(dbudget().needs).toEqual([{ kind: "windowQueries", window: 1 }]);
});

it("refuses options that are out of range", () => {
  expect(() => dbudget({ threshold: 2 })).toThrow("threshold must be in [0, 1]");
  expect(() => dbudget({ skipLayers: [-1] })).toThrow("skipLayers");
});
