import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { kvZip } from "./index.ts";

testBudget("kv-zip", () => kvZip());
testBudget("kv-zip, by layer", () => kvZip({ scope: "layer" }));
testBudget("kv-zip, strict", () => kvZip({ threshold: "strict" }));
testBudget("kv-zip, rows alike", () => kvZip({ scope: "row" }));
testBudget("kv-zip, whole heads", () => kvZip({ scope: "head" }));

it("refuses options that it does not know and scores of another model", () => {
  expect(() => kvZip({ scope: "layer", threshold: "strict" })).toThrow("needs the scope model");
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
  expect(() => kvZip({ headScores: [1, 2] }).checkShape?.(shape)).toThrow("2 entries");
});
