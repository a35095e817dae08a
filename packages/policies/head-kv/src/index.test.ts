import { headProfile, type KvShape, validatePlan } from "@kvcache/core";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { headKV } from "./index.ts";

const profileOf = (
  { numLayers, numQueryHeads, numKvHeads }: KvShape,
  score = (head: number) => (head * 3) % 7,
) =>
  headProfile({
    kind: "head-kv",
    model: { name: "random", fingerprint: "f" },
    shape: { numLayers, numQueryHeads, numKvHeads },
    settings: {},
    arrays: {
      headScores: {
        shape: [numLayers, numQueryHeads],
        values: Array.from({ length: numLayers * numQueryHeads }, (_, head) => score(head)),
      },
    },
  });

testPolicy("head-kv", (shape) => headKV({ profile: profileOf(shape) }));
testPolicy("head-kv, half even", (shape) =>
  headKV({ profile: profileOf(shape), beta: 2, temperature: 0.5, window: 4 }),
);

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };

it("gives the heads of the worked example their budgets", async () => {
  const profile = profileOf(shape, (head) => 4 - head);
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 300, windowSize: 8 });
  made.feed(0, 300, { flags: 1 });
  const { kept } = await compressOnce(made, headKV({ profile }), { tokens: 128 });
  expect(kept.map((row) => row.length - 8)).toEqual([191, 144, 96, 49]);
});

it("makes no plan without the profile of this model", () => {
  const environment = {
    shape,
    signals: ["windowQueries"] as const,
    windowSize: 8,
    fingerprint: "f",
  };
  const plan = (policy: ReturnType<typeof headKV>, more = {}) =>
    validatePlan({ eviction: { policy, target: { ratio: 0.5 } } }, { ...environment, ...more });
  expect(() => plan(headKV())).toThrow("needs a profile");
  const policy = headKV({ profile: profileOf(shape) });
  expect(() => plan(policy)).not.toThrow();
  expect(() => plan(policy, { fingerprint: "g" })).toThrow(
    "another model: random, f; this one is g",
  );
  expect(() => plan(policy, { shape: { ...shape, numLayers: 3 } })).toThrow("numLayers");
});
