import { threshold } from "@kvcache/budget-threshold";
import { definePolicy } from "@kvcache/core";
import { keyDiff } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { dms } from "./index.ts";

const differing = definePolicy({
  name: "differing",
  paper: "none",
  scorer: keyDiff(),
  budget: threshold(),
  selector: topK(),
  trigger: { prefill: true, pressure: false },
  protect: { sinks: 1, recent: 0 },
  queryAware: false,
  options: {},
});

testPolicy("dms", () => dms({ threshold: -2.5, window: 6, decoding: true, interval: 1 }));
testPolicy("dms over a policy", () => dms({ policy: differing, window: 3, threshold: -0.3 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
type Made = ReturnType<typeof tokenCache>;
const keyOf = ({ tokens }: Made, row: number, position: number) =>
  tokens(0, row >> 1, position).key.subarray((row & 1) * 4, (row & 1) * 4 + 4);
const normOf = (made: Made, row: number, position: number) =>
  Math.hypot(...keyOf(made, row, position));
const start = (scorer: ReturnType<typeof dms>["scorer"], n: number) => {
  const made = tokenCache({ shape, seed: 8, sequences: 1, maxTokens: 80, windowSize: 0, scorer });
  made.feed(0, n, { flags: 0 });
  return made;
};

it("evicts what scores below the threshold once it has left the window, as text asks for", async () => {
  const policy = dms({ threshold: -3.2, window: 10, decoding: true, interval: 1 });
  const made = start(policy.scorer, 50);
  for (let next = 50; next <= 70; next++) {
    const phase = next === 50 ? "prefill" : "decode";
    const { kept } = await compressOnce(made, policy, { ratio: 1 }, phase);
    kept.forEach((row, r) => {
      const expected = Array.from({ length: next }, (_, position) => position).filter(
        (position) => position >= next - 10 || normOf(made, r, position) <= 3.2,
      );
      expect(row).toEqual(expected);
    });
    made.feed(0, 1, { flags: 0 });
  }
});

it("scores a token once, with those that arrived beside it", async () => {
  const policy = dms({ policy: differing, window: 0, threshold: -0.2, decoding: true });
  const made = start(policy.scorer, 30);
  const first = await compressOnce(made, policy, { ratio: 1 });
  made.feed(0, 1, { flags: 0 });
  // A single key lies where its mean lies: −1, below the threshold.
  const { scores, kept } = await compressOnce(made, policy, { ratio: 1 }, "decode");
  expect(kept).toEqual(first.kept);
  scores.forEach((row) => {
    expect(row.at(-1)).toBeCloseTo(-1, 6);
  });
});

it("keeps to the target where more is good enough, and one token where nothing is", async () => {
  const ceiling = await compressOnce(start(dms().scorer, 40), dms({ window: 4, threshold: null }), {
    tokens: 12,
  });
  expect(ceiling.kept.map((row) => row.length)).toEqual([12, 12, 12, 12]);
  const none = dms({ window: 0, threshold: 0.5 });
  const { kept } = await compressOnce(start(none.scorer, 40), none, { ratio: 1 });
  expect(kept.map((row) => row.length)).toEqual([1, 1, 1, 1]);
});
