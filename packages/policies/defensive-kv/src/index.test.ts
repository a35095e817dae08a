import { testPolicy } from "@kvcache/testing";
import { expect, it } from "vitest";
import { defensiveKV } from "./index.ts";

testPolicy("defensive-kv", () => defensiveKV({ window: 6 }));
testPolicy("defensive-kv, plain mass", () =>
  defensiveKV({ window: 4, windowBias: 0, criticalMass: 0.5, safeguard: 0.3 }),
);

it("refuses options that are out of range", () => {
  expect(() => defensiveKV({ window: 0 })).toThrow("window");
  expect(() => defensiveKV({ criticalMass: 2 })).toThrow("criticalMass");
  expect(() => defensiveKV({ windowBias: Number.NaN })).toThrow("windowBias cannot be NaN");
});
