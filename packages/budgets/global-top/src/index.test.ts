import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { globalTop } from "./index.ts";

testBudget("global-top", () => globalTop(), { exact: true });
testBudget("global-top, model", () => globalTop({ scope: "model" }), { exact: true });
testBudget("global-top, safeguard", () => globalTop({ scope: "model", safeguard: 0.4 }), {
  exact: true,
});

it("refuses options that are out of range", () => {
  expect(() => globalTop({ scope: "head" as "layer" })).toThrow("scope cannot be");
  expect(() => globalTop({ safeguard: 2 })).toThrow("safeguard must be in [0, 1]");
});
