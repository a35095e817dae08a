import { testPolicy } from "@kvcache/testing";
import { expect, it } from "vitest";
import { zigZagKV } from "./index.ts";

testPolicy("zigzag-kv", () => zigZagKV({ window: 6 }));
testPolicy("zigzag-kv by outputs", () => zigZagKV({ window: 6, measure: "lmbo", minTokens: 8 }));
testPolicy("zigzag-kv per query head", () =>
  zigZagKV({ window: 6, granularity: "queryHead", excludeWindow: false }),
);

it("refuses options that are out of range", () => {
  expect(() => zigZagKV({ measure: "entropy" as "lmba" })).toThrow("measure cannot be");
  expect(() => zigZagKV({ tau: 1.2 })).toThrow("tau");
  expect(() => zigZagKV({ minTokens: 0 })).toThrow("minTokens");
});
