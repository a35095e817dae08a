import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { random } from "./index.ts";

testPolicy("random", () => random({ seed: 5 }));

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };

async function keptBy(seed: number) {
  const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 40, windowSize: 0 });
  made.feed(0, 40, { flags: 0 });
  return (await compressOnce(made, random({ seed }), { ratio: 0.5 })).kept;
}

it("depends on the seed and the head, not on the layer", async () => {
  const kept = await keptBy(7);
  expect(kept[2]).toEqual(kept[0]);
  expect(kept[1]).not.toEqual(kept[0]);
  expect(await keptBy(8)).not.toEqual(kept);
});

it("keeps every token about as often as another", async () => {
  const times = new Array<number>(40).fill(0);
  for (let seed = 0; seed < 400; seed++)
    for (const position of (await keptBy(seed))[0]!) times[position]!++;
  // Half of 400 draws each; five standard deviations are 50.
  for (const count of times) expect(Math.abs(count - 200)).toBeLessThan(50);
});
