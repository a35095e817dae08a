import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { lava } from "./index.ts";

testBudget("lava", () => lava());
testBudget("lava, exact", () => lava({ rounding: "exact" }));
testBudget("lava, floor", () => lava({ floor: 0.3 }));
testBudget("lava, exact floor", () => lava({ floor: 0.3, rounding: "exact" }));

it("refuses options that are out of range", () => {
  expect(() => lava({ floor: -1 })).toThrow("floor must be in [0, 1]");
  expect(() => lava({ rounding: "up" as "exact" })).toThrow("rounding cannot be");
});
