import { uniform } from "@kvcache/budget-uniform";
import { definePolicy, type Scorer } from "@kvcache/core";
import { keyDiff, keyNorm, windowAttention } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { composed } from "./index.ts";

const by = (name: string, scorer: Scorer, recent = 0) =>
  definePolicy({
    name,
    paper: "none",
    scorer,
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks: 0, recent },
    queryAware: false,
    options: { recent },
  });
const observing = by("observing", windowAttention({ window: 4 }), 4);
const norms = by("norms", keyNorm());
const differing = by("differing", keyDiff(), 2);

testPolicy("composed", () => composed());
testPolicy("composed of three", () =>
  composed({ policies: [observing, norms, differing], multiples: [3, 1.5] }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const start = (sequences = 1) => {
  const made = tokenCache({ shape, seed: 6, sequences, maxTokens: 48, windowSize: 4 });
  for (const sequence of made.sequences) made.feed(sequence, 48 - 7 * sequence, { flags: 1 });
  return made;
};

/** What the last policy protects, the earlier ones leave. */
const guarded = (policy: typeof norms, recent: number) => ({
  ...policy,
  protect: { sinks: 0, recent: Math.max(recent, policy.protect.recent) },
});

it("evicts as the policies do one after another", async () => {
  for (const [first, second] of [
    [observing, norms],
    [norms, differing],
    [differing, observing],
  ] as const) {
    const apart = start(2);
    await compressOnce(apart, guarded(first, second.protect.recent), { ratio: 0.5 });
    const { kept } = await compressOnce(apart, second, { ratio: 0.25 });
    const policy = composed({ policies: [first, second] });
    expect((await compressOnce(start(2), policy, { ratio: 0.25 })).kept).toEqual(kept);
  }
});

it("takes multiples of targets in tokens, and one policy as it is", async () => {
  const apart = start();
  await compressOnce(apart, guarded(norms, 2), { tokens: 30 });
  await compressOnce(apart, observing, { tokens: 20 });
  const { kept } = await compressOnce(apart, differing, { tokens: 10 });
  const policy = composed({ policies: [norms, observing, differing], multiples: [3, 2] });
  expect((await compressOnce(start(), policy, { tokens: 10 })).kept).toEqual(kept);
  const alone = await compressOnce(start(), composed({ policies: [differing] }), { tokens: 10 });
  expect(alone.kept).toEqual((await compressOnce(start(), differing, { tokens: 10 })).kept);
});

it("refuses what cannot be chained", () => {
  expect(() => composed({ policies: [] })).toThrow("0 policies take 0 multiples");
  expect(() => composed({ policies: [norms, differing], multiples: [0.5] })).toThrow("fall to 1");
  expect(() => composed({ policies: [norms, differing], multiples: [4, 2] })).toThrow(
    "1 multiples",
  );
  const changing = { ...norms, transform: { name: "merge", apply: () => {} } };
  expect(() => composed({ policies: [changing, differing] })).toThrow("can only come last");
  expect(composed({ policies: [norms, changing] }).transform).toBe(changing.transform);
  expect(composed({ policies: [norms, observing] }).options).toEqual({
    policies: [
      { name: "norms", recent: 0 },
      { name: "observing", recent: 4 },
    ],
    multiples: null,
  });
});
