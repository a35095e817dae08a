import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { chunkShares } from "./index.ts";

testBudget("chunk-shares", () => chunkShares({ chunk: 6 }));
testBudget("chunk-shares, one chunk", () => chunkShares());

it("refuses chunks of nothing", () => {
  expect(() => chunkShares({ chunk: 0 })).toThrow("chunk must be a whole number of at least 1");
});
