import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { threshold } from "./index.ts";

testBudget("threshold", () => threshold(), { exact: true });
// Scores of the battery are not negative.
testBudget("threshold, a low one", () => threshold({ threshold: 0 }), { exact: true });

it("refuses what is no number", () => {
  expect(() => threshold({ threshold: Number.NaN })).toThrow("threshold must be a number, got NaN");
});
