import { hostTensor, type KvBatch, type Scorer } from "@kvcache/core";
import { createHostEncoder } from "@kvcache/kernels";
import { testScorer, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { questionAttention } from "./question-attention.ts";
import { keyRedundancy, redundancyAware } from "./redundancy-aware.ts";
import { repeatAttention } from "./repeat-attention.ts";
import { replayTableOf } from "./replay-table.ts";
import { secondPassAttention } from "./second-pass-attention.ts";
import { windowImportance } from "./window-importance.ts";

testScorer("repeatAttention", () => repeatAttention({ chunk: 9, sinks: 2 }));
testScorer("repeatAttention, normalized", () =>
  repeatAttention({ from: "sinks", normalize: true }),
);
testScorer("secondPassAttention", () => secondPassAttention());
testScorer("questionAttention", () => questionAttention({ window: 5 }));
testScorer("windowImportance", () =>
  windowImportance({ window: 4, pooling: { kind: "max", size: 3 } }),
);
testScorer("keyRedundancy", () => keyRedundancy());
testScorer("redundancyAware", () => redundancyAware({ window: 3, lambda: 0.4 }));

const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
const scorer = repeatAttention({ chunk: 8 });
const score = (by: Scorer, batch: KvBatch) => {
  const out = hostTensor(new Float32Array(batch.totalSlots));
  by.score(createHostEncoder(), batch, out);
  return [...(out.data as Float32Array)];
};
const prefilled = () => {
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 30, windowSize: 0, scorer });
  made.feed(0, 20, { flags: 0 });
  made.replay();
  return made;
};

it("forgets what is taken back, and begins anew with new passes", () => {
  const made = prefilled();
  const before = score(scorer, made.batch("prefill"));
  expect(before.every((value) => value > 0)).toBe(true);
  made.truncate(0, 12);
  expect(score(scorer, made.batch("prefill"))).toEqual(before.slice(0, 12));
  made.feed(0, 8, { flags: 0 });
  const stale = score(scorer, made.batch("prefill"));
  expect(stale.slice(12)).toEqual(new Array(8).fill(0));
  made.replay();
  expect(score(scorer, made.batch("prefill"))).toEqual(before);
});

it("is another one for a fork", () => {
  const made = prefilled();
  const before = score(scorer, made.batch("prefill"));
  const copy = made.fork(0);
  made.truncate(0, 3);
  expect(score(scorer, made.batch("prefill", [copy]))).toEqual(before);
});

it("says that passes are missing once tokens followed them", () => {
  const made = prefilled();
  made.feed(0, 1, { flags: 0 });
  expect(() => replayTableOf(made.batch("decode"), 0)).toThrow("No replay pass over sequence 0");
});
