import { testPolicy } from "@kvcache/testing";
import { expect, it } from "vitest";
import { criticalAdaKV } from "./index.ts";

testPolicy("critical-ada-kv", () => criticalAdaKV());

it("refuses options that are out of range", () => {
  expect(() => criticalAdaKV({ safeguard: -1 })).toThrow("safeguard");
  expect(() => criticalAdaKV({ firstStage: 1.1 })).toThrow("firstStage");
  expect(() => criticalAdaKV({ policy: {} as never })).toThrow("must be a policy");
});
