import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { type CompactorOptions, compactor } from "./index.ts";

testPolicy("compactor", () => compactor());
testPolicy("compactor, other parts", () =>
  compactor({ sinks: 1, recent: 2, sketch: 5, chunk: 7, blending: 0.35, padding: "none" }),
);

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 6 };

async function scoresWith(options: CompactorOptions, target = { ratio: 0.4 }) {
  const policy = compactor({ sketch: 8, chunk: 10, ...options });
  const { scorer, protect } = policy;
  const made = tokenCache({
    ...{ shape, seed: 3, sequences: 1, maxTokens: 40, windowSize: 0, scorer, protect },
  });
  made.feed(0, 40, { flags: 0 });
  return (await compressOnce(made, policy, target)).scores.flatMap((row) => [...row]);
}

it("blends leverage into attention by the fraction that is evicted", async () => {
  const attention = await scoresWith({ blending: 0 });
  const both = await scoresWith({ blending: 1 });
  const blended = await scoresWith({});
  expect(await scoresWith({ blending: 0.6 })).toEqual(blended);
  let ends = 0;
  blended.forEach((score, i) => {
    if (Number.isFinite(score))
      expect(score).toBeCloseTo(attention[i]! + 0.6 * (both[i]! - attention[i]!), 5);
    else ends++;
  });
  expect(ends).toBe(4 * 12);
});
