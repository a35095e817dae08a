import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { lagKV } from "./index.ts";

testPolicy("lag-kv", () => lagKV({ lag: 6 }));
testPolicy("lag-kv, across partitions", () => lagKV({ lag: 4, crossScoring: true }));
testPolicy("lag-kv, authors", () => lagKV({ variant: "authors", sinks: 2, lag: 5 }));
testPolicy("lag-kv, rows too short to compare", () => lagKV());

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };

it("takes as much from every partition, nothing from sinks and tail", async () => {
  const made = tokenCache({ shape, seed: 4, sequences: 1, maxTokens: 54, windowSize: 0 });
  made.feed(0, 54, { flags: 0 });
  // 4 sinks, 4 partitions of 10 that are scored, then 10 of the tail: 14 + 4 × 5 stay.
  const { kept } = await compressOnce(made, lagKV({ lag: 10 }), { tokens: 34 });
  for (const row of kept) {
    const inside = (from: number, to: number) => row.filter((j) => j >= from && j < to).length;
    expect([0, 4, 14, 24, 34, 44].map((from) => inside(from, from === 0 ? 4 : from + 10))).toEqual([
      4, 5, 5, 5, 5, 10,
    ]);
  }
});

it("loses sinks only when it is told to follow the ratio", async () => {
  const after = async (keepProtected: boolean) => {
    const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 9, windowSize: 0 });
    made.feed(0, 5, { flags: 0 });
    return (await compressOnce(made, lagKV({ keepProtected }), { ratio: 0.5 })).kept[0];
  };
  expect(await after(true)).toEqual([0, 1, 2, 3]);
  expect(await after(false)).toHaveLength(2);
});

it("cuts each partition down once, as it passes, like the authors", async () => {
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 60, windowSize: 0 });
  made.feed(0, 33, { flags: 0 });
  const policy = lagKV({ variant: "authors", sinks: 3, lag: 8 });
  const inside = (row: readonly number[], from: number) =>
    row.filter((j) => j >= from && j < from + 8).length;
  const first = await compressOnce(made, policy, { ratio: 0.4 });
  // Positions 3, 11, 19 end in one whole partition and six tokens: two partitions of three each.
  for (const row of first.kept)
    expect([3, 11, 19, 27].map((from) => inside(row, from))).toEqual([3, 3, 8, 6]);
  made.feed(0, 3, { flags: 0 });
  const second = await compressOnce(made, policy, { ratio: 0.4 }, "decode");
  second.kept.forEach((row, i) => {
    expect([3, 11, 19, 27].map((from) => inside(row, from))).toEqual([3, 3, 3, 8]);
    // What was decided before stays as it was.
    expect(row.filter((j) => j < 19)).toEqual(first.kept[i]!.filter((j) => j < 19));
  });
});
