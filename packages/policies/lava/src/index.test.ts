import { testPolicy } from "@kvcache/testing";
import { expect, it } from "vitest";
import { lava } from "./index.ts";

testPolicy("lava", () => lava({ window: 6 }));
testPolicy("lava, exact", () => lava({ window: 6, rounding: "exact", floor: 0.2 }));

it("refuses options that are out of range", () => {
  expect(() => lava({ window: 0 })).toThrow("window");
  expect(() => lava({ floor: 3 })).toThrow("floor");
});
