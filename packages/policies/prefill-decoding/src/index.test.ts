import { uniform } from "@kvcache/budget-uniform";
import { definePolicy, type Scorer } from "@kvcache/core";
import { keyNorm, position } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { prefillDecoding } from "./index.ts";

const by = (name: string, scorer: Scorer, sinks: number, recent: number) =>
  definePolicy({
    name,
    paper: "none",
    scorer,
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, pressure: false },
    protect: { sinks, recent },
    queryAware: false,
    options: { sinks, recent },
  });
const prefill = by("norms", keyNorm(), 0, 5);
const decoding = by("sliding", position(), 3, 0);

testPolicy("prefill-decoding", () =>
  prefillDecoding({ prefill: by("norms", keyNorm(), 1, 3), decoding, interval: 4 }),
);
testPolicy("prefill-decoding over policies", () =>
  prefillDecoding({ prefill: by("norms", keyNorm(), 3, 0), decoding, target: { tokens: 9 } }),
);

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };

it("is the one policy when the prompt ends, the other later, each with its target", async () => {
  const start = () => {
    const made = tokenCache({ shape, seed: 4, sequences: 1, maxTokens: 60, windowSize: 0 });
    made.feed(0, 40, { flags: 0 });
    return made;
  };
  const policy = prefillDecoding({ prefill, decoding, target: { tokens: 9 } });
  const made = start();
  const first = await compressOnce(made, policy, { ratio: 0.5 });
  expect(first.kept).toEqual((await compressOnce(start(), prefill, { ratio: 0.5 })).kept);
  expect(first.kept[0]!.slice(-5)).toEqual([35, 36, 37, 38, 39]);
  made.feed(0, 6, { flags: 0 });
  const later = await compressOnce(made, policy, { ratio: 0.5 }, "decode");
  later.kept.forEach((row, i) => {
    const held = [...first.kept[i]!, 40, 41, 42, 43, 44, 45];
    const sinks = held.filter((p) => p < 3);
    expect(row).toEqual([...sinks, ...held.slice(held.length - 9 + sinks.length)]);
  });
});

it("says what it was made of, and promises the larger of the two", () => {
  const policy = prefillDecoding({ prefill, interval: 32 });
  expect(policy.options).toEqual({
    prefill: { name: "norms", sinks: 0, recent: 5 },
    decoding: null,
    interval: 32,
    target: null,
  });
  expect(policy.trigger).toEqual({ prefill: true, interval: 32, pressure: false });
  expect(() => prefillDecoding({ target: { ratio: 2 } })).toThrow("budget.ratio");
});

it("changes kept entries with the transform of the phase, and refuses one that renumbers", () => {
  const applied: string[] = [];
  const changing = (name: string) => ({
    ...by(name, keyNorm(), 0, 0),
    transform: { name, apply: () => applied.push(name) },
  });
  const { transform } = prefillDecoding({ prefill: changing("a"), decoding: changing("b") });
  for (const phase of ["prefill", "decode", "pressure"] as const)
    transform!.apply(undefined!, { phase } as never, undefined!, undefined!);
  expect(applied).toEqual(["a", "b", "b"]);
  const renumbering = { ...changing("c").transform, nextPosition: () => 0 };
  expect(() => prefillDecoding({ prefill: { ...prefill, transform: renumbering } })).toThrow(
    "c renumbers positions",
  );
});
