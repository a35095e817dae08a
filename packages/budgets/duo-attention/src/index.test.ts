import { headProfile, type KvShape } from "@kvcache/core";
import { testBudget } from "@kvcache/testing";
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
        values: Array.from({ length: numLayers * numKvHeads }, (_, i) => ((i * 3) % 5) / 5),
      },
    },
  });

testBudget("duo-attention", (shape) =>
  duoAttention({ profile: profileOf(shape), streamingHeads: null }),
);
testBudget("duo-attention, no head streams", (shape) =>
  duoAttention({ profile: profileOf(shape), streamingHeads: 0, rule: "quantile" }),
);

it("refuses options out of range, and a model without profile", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  expect(() => duoAttention({ streamingHeads: 1.5 })).toThrow("streamingHeads must be in [0, 1]");
  expect(() => duoAttention({ rule: "x" as "lowest" })).toThrow('rule cannot be "x"');
  expect(() => duoAttention().checkShape!(shape)).toThrow("duo-attention needs a profile");
});
