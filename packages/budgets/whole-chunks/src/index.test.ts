import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { wholeChunks } from "./index.ts";

testBudget("whole-chunks", () => wholeChunks({ chunk: 5 }));
testBudget("whole-chunks, to the letter", () => wholeChunks({ chunk: 7, keepProtected: false }));

it("refuses chunks of nothing", () => {
  expect(() => wholeChunks({ chunk: 0 })).toThrow("chunk must be a whole number of at least 1");
});
