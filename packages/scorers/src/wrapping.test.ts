import { definePolicy, type EvictionPolicy, hostArray } from "@kvcache/core";
import { createHostEncoder, recordTopK, uniformCounts } from "@kvcache/kernels";
import { testScorer, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import {
  byPhase,
  chunkwise,
  expectedAttention,
  keyDiff,
  keyNorm,
  onArrival,
  successive,
  windowAttention,
} from "./index.ts";

const protect = { sinks: 1, recent: 2 };
const policy = (name: string, scorer: EvictionPolicy["scorer"]) =>
  definePolicy({
    name,
    paper: "none",
    scorer,
    budget: {
      name: "even",
      needs: [],
      resolve: () => 0,
      allocate: (encoder, { batch, target, scores }, counts) =>
        encoder.run(uniformCounts, { batch, target, scores, keepProtected: true, counts }),
    },
    selector: {
      name: "top-k",
      select: (encoder, batch, scores, counts) => recordTopK(encoder, batch, scores, counts),
    },
    trigger: { prefill: true, pressure: false },
    protect,
    queryAware: false,
    options: {},
  });

testScorer("chunkwise", () => chunkwise(keyDiff(), 6));
testScorer("chunkwise over window attention", () => chunkwise(windowAttention({ window: 4 }), 9));
testScorer("onArrival", () => onArrival(keyNorm()));
testScorer("byPhase", () =>
  byPhase({ scorer: windowAttention({ window: 3 }), protect }, { scorer: keyNorm(), protect }),
);
testScorer("byPhase over an observing scorer", () =>
  byPhase({ scorer: expectedAttention(), protect }, { scorer: keyNorm(), protect }),
);
testScorer("successive", () => successive([policy("a", keyDiff()), policy("b", keyNorm())]));

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };

it("onArrival never scores a token again, nor forgets it in a fork", () => {
  const scorer = onArrival(keyDiff());
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 60, windowSize: 0, scorer });
  const encoder = createHostEncoder();
  const score = (sequence: number) => {
    const batch = made.batch("decode", [sequence]);
    const out = encoder.tensor("f32", batch.totalSlots);
    scorer.score(encoder, batch, out);
    return hostArray(out, "f32");
  };
  made.feed(0, 20, { flags: 0 });
  const first = score(0);
  made.feed(0, 7, { flags: 0 });
  const second = score(0);
  for (let row = 0; row < 4; row++)
    expect(second.slice(row * 27, row * 27 + 20)).toEqual(first.slice(row * 20, row * 20 + 20));
  const copy = made.fork(0);
  expect(score(copy)).toEqual(second);
  made.truncate(0, 20);
  expect(score(0)).toEqual(first);
});

it("successive scores what the first policy evicts below everything else", () => {
  const scorer = successive([policy("a", keyDiff()), policy("b", keyNorm())], [2]);
  const made = tokenCache({ shape, seed: 5, sequences: 1, maxTokens: 40, windowSize: 0 });
  made.feed(0, 40, { flags: 0 });
  const batch = made.batch("prefill");
  const encoder = createHostEncoder();
  const scored = (target?: { ratio: number }) => {
    const out = encoder.tensor("f32", batch.totalSlots);
    scorer.score(encoder, batch, out, target);
    return hostArray(out, "f32");
  };
  const norms = encoder.tensor("f32", batch.totalSlots);
  keyNorm().score(encoder, batch, norms);
  expect(scored()).toEqual(hostArray(norms, "f32"));
  const evicted = Array.from(scored({ ratio: 0.25 })).filter((score) => score < -1e38);
  expect(evicted).toHaveLength(4 * 20);
});
