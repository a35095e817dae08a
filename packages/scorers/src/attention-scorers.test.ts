import { headProfile, type KvShape } from "@kvcache/core";
import { testScorer } from "@kvcache/testing";
import { expect, it } from "vitest";
import {
  accumulatedAttention,
  distanceHeat,
  heatCollector,
  keyDiff,
  lagSpread,
  random,
  sampled,
  stretchEdges,
  windowAttention,
} from "./index.ts";

const heat = ({ numLayers, numQueryHeads, numKvHeads }: KvShape) =>
  headProfile({
    kind: "heat-kv",
    model: { name: "random", fingerprint: null },
    shape: { numLayers, numQueryHeads, numKvHeads },
    settings: { edges: [3, 9] },
    arrays: {
      mass: {
        shape: [numLayers, numKvHeads, 3],
        values: Array.from({ length: 3 * numLayers * numKvHeads }, (_, i) => (i * 7) % 5),
      },
    },
  });

testScorer("keyDiff", () => keyDiff());
testScorer("lagSpread", () => lagSpread({ sinks: 2, lag: 5 }));
testScorer("lagSpread across partitions", () => lagSpread({ lag: 3, crossScoring: true }));
testScorer("random", () => random({ seed: 9 }));
testScorer("sampled", () => sampled(keyDiff(), { temperature: 0.2, seed: 3 }));
testScorer("distanceHeat", (shape) => distanceHeat({ profile: heat(shape) }));
testScorer("accumulatedAttention, averaged", () =>
  accumulatedAttention({ groupReduce: "mean", average: true }),
);
testScorer("accumulatedAttention of the last queries", () =>
  accumulatedAttention({ queries: 6, groupReduce: "max", average: true }),
);
testScorer("accumulatedAttention that fades", () =>
  accumulatedAttention({
    phase: "decode",
    decay: 0.5,
    atPrefillEnd: windowAttention({ window: 3, excludeWindow: false }),
  }),
);
testScorer("heatCollector", (shape) => heatCollector(shape).scorer, { forgets: false });

it("refuses options that do not go together", () => {
  expect(() => accumulatedAttention({ groupReduce: "max" })).toThrow("cannot take their maximum");
  expect(() => accumulatedAttention({ average: true, phase: "decode" })).toThrow("averaged");
  expect(() => accumulatedAttention({ queries: 8, decay: 0.5 })).toThrow("leaves no sums");
  expect(() => lagSpread({ lag: 0 })).toThrow("lag must be a whole number of at least 1");
  expect(() => random({ seed: -1 })).toThrow("seed must be a whole number");
  expect(() => sampled(keyDiff(), { temperature: -1 })).toThrow("temperature must be 0 or more");
});

it("refuses a heat profile that is missing, unordered or of another shape", () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
  expect(() => distanceHeat({ profile: null }).checkShape!(shape)).toThrow("needs a profile");
  expect(() => stretchEdges([64, 64])).toThrow("ascending distances");
  const scorer = distanceHeat({ profile: heat(shape) });
  expect(() => scorer.checkShape!(shape)).not.toThrow();
  expect(() => scorer.checkShape!({ ...shape, numLayers: 4 })).toThrow("numLayers is 2, here 4");
});
