import { headProfile, type KvShape } from "@kvcache/core";
import { testBudget } from "@kvcache/testing";
import { expect, it } from "vitest";
import { headKV } from "./index.ts";

const profileOf = ({ numLayers, numQueryHeads, numKvHeads }: KvShape, least = 0) =>
  headProfile({
    kind: "head-kv",
    model: { name: "random", fingerprint: null },
    shape: { numLayers, numQueryHeads, numKvHeads },
    settings: {},
    arrays: {
      headScores: {
        shape: [numLayers, numQueryHeads],
        values: Array.from({ length: numLayers * numQueryHeads }, (_, i) => least + ((i * 3) % 5)),
      },
    },
  });

testBudget("head-kv", (shape) => headKV({ profile: profileOf(shape) }));
testBudget("head-kv, half even", (shape) =>
  headKV({ profile: profileOf(shape), beta: 2, temperature: 2 }),
);

it("refuses what is no profile for it", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  expect(() => headKV().checkShape!(shape)).toThrow("head-kv needs a profile");
  expect(() => headKV({ profile: profileOf(shape, -1) })).toThrow("negative score");
  const other = { ...profileOf(shape), kind: "heat-kv" };
  expect(() => headKV({ profile: other })).toThrow("kind heat-kv is not for head-kv");
  expect(() => headKV({ profile: {} as never })).toThrow("The option profile: format");
  expect(() => headKV({ beta: 0.9 })).toThrow("beta must be at least 1, got 0.9");
});
