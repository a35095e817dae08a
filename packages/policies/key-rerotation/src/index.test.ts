import { uniform } from "@kvcache/budget-uniform";
import { definePolicy } from "@kvcache/core";
import { position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { keyRerotation } from "./index.ts";

const lastTokens = definePolicy({
  name: "last-tokens",
  paper: "none",
  scorer: position(),
  budget: uniform(),
  selector: topK(),
  trigger: { prefill: true, interval: 4, pressure: true },
  protect: { sinks: 2, recent: 0 },
  queryAware: false,
  options: {},
});

testPolicy("key-rerotation", () => keyRerotation());
testPolicy("key-rerotation of another policy", () => keyRerotation({ policy: lastTokens }));

it("keeps what the wrapped policy keeps, and goes on behind it", async () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 40, windowSize: 0 });
  made.feed(0, 30, { flags: 0 });
  const policy = keyRerotation({ policy: lastTokens });
  const { kept } = await compressOnce(made, policy, { tokens: 6 });
  expect(kept).toEqual([
    [0, 1, 2, 3, 4, 5],
    [0, 1, 2, 3, 4, 5],
  ]);
  expect(made.cache.sequenceStats(0).nextPosition).toBe(6);
  made.feed(0, 3, { flags: 0 });
  expect([...made.positions(0, 1)].sort((a, b) => a - b)).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8]);
});

it("refuses what is no policy", () => {
  expect(() => keyRerotation({ policy: { name: "knorm" } as never })).toThrow("must be a policy");
});
