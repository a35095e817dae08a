import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { quest } from "./index.ts";

testPolicy("quest", () => quest());

it("evicts nothing, whatever the target, and says what it reads by", async () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 20, windowSize: 1 });
  made.feed(0, 20, { flags: 1 });
  const policy = quest({ tokens: 8 });
  const { kept } = await compressOnce(made, policy, { tokens: 3 });
  for (const row of kept) expect(row).toHaveLength(20);
  expect(policy.trigger).toEqual({ prefill: false, pressure: false });
  expect(policy.readSelector?.needs).toContainEqual({ kind: "blockBounds" });
});
