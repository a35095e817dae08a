import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { lagKV } from "./index.ts";

// No partition has passed yet, so that any scores will do: see the policy for those of its scorer.
testBudget("lag-kv", () => lagKV({ sinks: 0, lag: 1000 }));

it("refuses partitions without tokens", () => {
  expect(() => lagKV({ lag: 0 })).toThrow("lag must be a whole number of at least 1");
  expect(() => lagKV({ sinks: -1 })).toThrow("sinks must be a whole number");
});
