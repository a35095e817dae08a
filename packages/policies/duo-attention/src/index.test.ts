import { headProfile, type KvShape, validatePlan } from "@kvcache/core";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { duoAttention } from "./index.ts";

const profileOf = ({ numLayers, numQueryHeads, numKvHeads }: KvShape) =>
  headProfile({
    kind: "duo-attention",
    model: { name: "random", fingerprint: null },
    shape: { numLayers, numQueryHeads, numKvHeads },
    settings: {},
    arrays: {
      headScores: {
        shape: [numLayers, numKvHeads],
        values: Array.from({ length: numLayers * numKvHeads }, (_, head) => ((head * 3) % 7) / 7),
      },
    },
  });

const ends = { sinks: 2, recent: 5 } as const;
testPolicy("duo-attention", (shape) => duoAttention({ profile: profileOf(shape), ...ends }));
testPolicy("duo-attention, half the heads", (shape) =>
  duoAttention({ profile: profileOf(shape), streamingHeads: 0.5, ...ends }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 2 };
const prefilled = (n: number) => {
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 80, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  return made;
};
const profile = profileOf(shape);

it("cuts streaming heads down to both ends, and again while decoding", async () => {
  const made = prefilled(20);
  const policy = duoAttention({ profile, streamingHeads: 0.5, ...ends });
  const lengths = async (phase: "prefill" | "decode") =>
    (await compressOnce(made, policy, { ratio: 1 }, phase)).kept.map((row) => row.length);
  // Scores 0, 3, 6, 2 sevenths: the first and the last head stream.
  expect(await lengths("prefill")).toEqual([7, 20, 20, 7]);
  made.feed(0, 9, { flags: 0 });
  expect(await lengths("decode")).toEqual([7, 29, 29, 7]);
  expect([...made.positions(0, 0)].sort((a, b) => a - b)).toEqual([0, 1, 24, 25, 26, 27, 28]);
});

it("lets as many heads stream as a target needs", async () => {
  const policy = duoAttention({ profile, ...ends });
  const { kept } = await compressOnce(prefilled(27), policy, { ratio: 0.7 });
  // Each streaming head saves 20 of 108 tokens; two leave 68, 75 are allowed.
  expect(kept.map((row) => row.length)).toEqual([7, 27, 27, 7]);
});

it("leaves a context alone that is no longer than both ends", async () => {
  const { kept } = await compressOnce(
    prefilled(6),
    duoAttention({ profile, streamingHeads: 0.5, ...ends }),
    { ratio: 1 },
  );
  expect(kept.map((row) => row.length)).toEqual([6, 6, 6, 6]);
});

it("takes a target or a number of heads, not both, and no target that its ends alone pass", () => {
  const environment = { shape, signals: [], windowSize: 0 };
  const plan = (streamingHeads: number | null, target: { ratio: number } | { tokens: number }) =>
    validatePlan(
      { eviction: { policy: duoAttention({ profile, streamingHeads, ...ends }), target } },
      environment,
    );
  expect(() => plan(null, { ratio: 0.3 })).not.toThrow();
  expect(() => plan(0.5, { ratio: 1 })).not.toThrow();
  expect(() => plan(0.5, { ratio: 0.3 })).toThrow("its option streamingHeads decides");
  expect(() => plan(null, { tokens: 6 })).toThrow("below the 7 that duo-attention protects");
});
