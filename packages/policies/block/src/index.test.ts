import { uniform } from "@kvcache/budget-uniform";
import { definePolicy, type Scorer } from "@kvcache/core";
import { keyDiff, keyNorm } from "@kvcache/scorers";
import { topK } from "@kvcache/selectors";
import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { block } from "./index.ts";

const by = (scorer: Scorer, sinks = 0, recent = 0) =>
  definePolicy({
    name: "given",
    paper: "none",
    scorer,
    budget: uniform(),
    selector: topK(),
    trigger: { prefill: true, interval: 8, pressure: false },
    protect: { sinks, recent },
    queryAware: false,
    options: { sinks, recent },
  });

testPolicy("block", () => block({ block: 8 }));
testPolicy("block over a policy", () => block({ policy: by(keyNorm(), 3, 4), block: 5 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 4 };
async function keptBy(policy: ReturnType<typeof block>, n = 61, ratio = 0.3) {
  const made = tokenCache({ shape, seed: 9, sequences: 1, maxTokens: n, windowSize: 0 });
  made.feed(0, n, { flags: 0 });
  const { kept } = await compressOnce(made, policy, { ratio });
  return { kept, tokens: made.tokens };
}

it("changes nothing for scores that look at one token alone, whatever the block", async () => {
  const { kept } = await keptBy(by(keyNorm()));
  for (const size of [1, 2, 4, 8, 128])
    expect((await keptBy(block({ policy: by(keyNorm()), block: size }))).kept).toEqual(kept);
});

it("scores each block with what is kept, as a stream would", async () => {
  const [n, size, ratio] = [61, 10, 0.3];
  const { kept, tokens } = await keptBy(block({ policy: by(keyDiff()), block: size }), n, ratio);
  const count = Math.trunc(n * ratio);
  const unit = (v: readonly number[]) => v.map((value) => value / Math.hypot(...v));
  for (const layer of [0, 1]) {
    const keys = Array.from({ length: n }, (_, j) => unit([...tokens(0, layer, j).key]));
    let current = Array.from({ length: count }, (_, j) => j);
    for (let from = count; from < n; from += size) {
      for (let j = from; j < Math.min(n, from + size); j++) current.push(j);
      const anchor = unit(
        [0, 1, 2, 3].map((c) => current.reduce((sum, j) => sum + keys[j]![c]!, 0)),
      );
      const likeness = (j: number) => keys[j]!.reduce((dot, k, c) => dot + k * anchor[c]!, 0);
      current = current.sort((a, b) => likeness(a) - likeness(b)).slice(0, count);
    }
    expect(kept[layer]).toEqual(current.sort((a, b) => a - b));
  }
  const oneShot = await keptBy(by(keyDiff()), n, ratio);
  expect(oneShot.kept).not.toEqual(kept);
});

it("refuses blocks of nothing", () => {
  expect(() => block({ block: 0 })).toThrow("block must be a whole number");
});

it("chooses the same whether scores follow the set or are made anew", async () => {
  const anew = { ...keyDiff(), name: "made-anew" };
  for (const [size, recent] of [
    [7, 0],
    [16, 5],
  ] as const) {
    const following = await keptBy(block({ policy: by(keyDiff(), 2, recent), block: size }), 90);
    const made = await keptBy(block({ policy: by(anew, 2, recent), block: size }), 90);
    expect(following.kept).toEqual(made.kept);
  }
});
