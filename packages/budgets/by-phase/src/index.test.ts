import { type BudgetAllocator, hostTensor, sum } from "@kvcache/core";
import { createHostEncoder, evenShare, uniformCounts } from "@kvcache/kernels";
import { testBudget, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { byPhase } from "./index.ts";

const even: BudgetAllocator = {
  name: "even",
  needs: [],
  resolve: (request) => sum(evenShare(request, true)),
  allocate: (encoder, { batch, target, scores }, counts) =>
    encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
};

testBudget("by-phase", () =>
  byPhase({
    prefill: { budget: even },
    decoding: { budget: even, target: { ratio: 0.01 } },
  }),
);

it("follows each phase's rule and target", () => {
  const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 8, windowSize: 0 });
  made.feed(0, 8, { flags: 0 });
  const scores = hostTensor(new Float32Array(8));
  const budget = byPhase({
    prefill: { budget: even },
    decoding: { budget: even, protect: { sinks: 0, recent: 0 }, target: { tokens: 3 } },
  });
  const kept = (phase: "prefill" | "decode" | "pressure") => {
    const counts = hostTensor(new Uint32Array(1));
    const context = { batch: made.batch(phase), target: { ratio: 0.5 }, scores };
    budget.allocate(createHostEncoder(), context, counts);
    return counts.data[0];
  };
  expect([kept("prefill"), kept("decode"), kept("pressure")]).toEqual([4, 3, 3]);
});
