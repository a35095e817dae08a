import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { scissorhands } from "./index.ts";

testPolicy("scissorhands", () => scissorhands());
testPolicy("scissorhands, with a history", () =>
  scissorhands({ historyWindow: 6, decay: 0.5, protect: { sinks: 1, recent: 3 } }),
);
testPolicy("scissorhands, sampled", () =>
  scissorhands({ selection: "sample", temperature: 0.5, seed: 4 }),
);

const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 4 };
const nothing = { sinks: 0, recent: 0 };
const prefilled = () => {
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 60, windowSize: 8 });
  made.feed(0, 20, { flags: 1 });
  return made;
};

/** Attention of queries from … to − 1, summed per token. */
function importance(made: ReturnType<typeof prefilled>, from: number, to: number): number[] {
  const sums = new Array<number>(to).fill(0);
  for (let position = from; position < to; position++) {
    const { query } = made.tokens(0, 0, position);
    const weights = Array.from({ length: position + 1 }, (_, j) => {
      const { key } = made.tokens(0, 0, j);
      return Math.exp(query.reduce((dot, q, c) => dot + q * key[c]!, 0) / 2);
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    weights.forEach((weight, j) => {
      sums[j]! += weight / total;
    });
  }
  return sums;
}

it("counts a history of queries, then every decoded one; what was before fades", async () => {
  const made = prefilled();
  const policy = scissorhands({ historyWindow: 8, decay: 0.25, protect: nothing });
  const first = await compressOnce(made, policy, { ratio: 1 });
  const before = importance(made, 12, 20);
  before.forEach((sum, j) => {
    expect(Math.abs(first.scores[0]![j]! - sum)).toBeLessThan(1e-5);
  });
  for (let i = 0; i < 5; i++) made.feed(0, 1, { flags: 2 });
  const second = await compressOnce(made, policy, { ratio: 1 }, "decode");
  importance(made, 20, 25).forEach((sum, j) => {
    const expected = sum + 0.25 * (before[j] ?? 0);
    expect(Math.abs(second.scores[0]![j]! - expected), `token ${j}`).toBeLessThan(1e-5);
  });
});

it("keeps the last of the protected where the budget is smaller than they are", async () => {
  const protect = { sinks: 4, recent: 8 };
  const policy = scissorhands({ historyWindow: 4, protect, keepProtected: false });
  const { kept } = await compressOnce(prefilled(), policy, { tokens: 6 });
  expect(kept[0]).toEqual([14, 15, 16, 17, 18, 19]);
});

it("samples what it would choose when it is cold", async () => {
  const options = { historyWindow: 8, protect: nothing } as const;
  const chosen = await compressOnce(prefilled(), scissorhands(options), { tokens: 7 });
  const cold = scissorhands({ ...options, selection: "sample", temperature: 1e-5 });
  expect((await compressOnce(prefilled(), cold, { tokens: 7 })).kept).toEqual(chosen.kept);
  const hot = scissorhands({ ...options, selection: "sample", temperature: 100 });
  expect((await compressOnce(prefilled(), hot, { tokens: 7 })).kept).not.toEqual(chosen.kept);
});
