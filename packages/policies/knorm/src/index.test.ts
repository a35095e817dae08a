import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { knorm } from "./index.ts";

testPolicy("knorm", () => knorm());
testPolicy("knorm, as the authors", () => knorm({ skipLayers: [0], recent: 3 }));

const shape = { numLayers: 3, numQueryHeads: 2, numKvHeads: 2, headDim: 6 };
const prefilled = () => {
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 30, windowSize: 0 });
  made.feed(0, 30, { flags: 0 });
  return made;
};

it("keeps the shortest keys, and all of them in skipped layers", async () => {
  const made = prefilled();
  const { kept } = await compressOnce(made, knorm({ skipLayers: [1] }), { ratio: 0.3 });
  kept.forEach((positions, row) => {
    const norm = (position: number) => {
      const { key } = made.tokens(0, row >> 1, position);
      return Math.hypot(...key.subarray((row & 1) * 6, (row & 1) * 6 + 6));
    };
    const all = Array.from({ length: 30 }, (_, position) => position);
    const shortest = all.sort((a, b) => norm(a) - norm(b)).slice(0, row >> 1 === 1 ? 30 : 9);
    expect(positions).toEqual(shortest.sort((a, b) => a - b));
  });
});
