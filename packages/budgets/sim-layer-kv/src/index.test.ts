import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { simLayerKV } from "./index.ts";

// A lazy layer takes queries to find: see the policy.
testBudget("sim-layer-kv", () => simLayerKV(), { exact: true });

it("refuses numbers that make no window", () => {
  expect(() => simLayerKV({ last: 0 })).toThrow("last must be a whole number of at least 1");
  expect(() => simLayerKV({ recent: 2, last: 3 })).toThrow("recent must be a whole number");
  expect(() => simLayerKV({ threshold: Number.NaN })).toThrow("threshold must be a number");
});
