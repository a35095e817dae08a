import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { kvCompose } from "./index.ts";

testBudget("kv-compose", () => kvCompose());
testBudget("kv-compose, unstructured", () => kvCompose({ structured: false, minimumTokens: 2 }));
testBudget("kv-compose, maximum", () => kvCompose({ aggregateHeads: "max", minimumTokens: 3 }));

it("refuses a minimum that is no number of tokens", () => {
  expect(() => kvCompose({ minimumTokens: -1 })).toThrow("minimumTokens");
});
