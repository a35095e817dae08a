import { compressOnce, testPolicy, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { keyDiff } from "./index.ts";

testPolicy("key-diff", () => keyDiff());
testPolicy("key-diff, with both ends", () => keyDiff({ sinks: 2, recent: 3 }));

it("keeps the keys that are least like the mean of all directions", async () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 6 };
  const made = tokenCache({ shape, seed: 6, sequences: 1, maxTokens: 25, windowSize: 0 });
  made.feed(0, 25, { flags: 0 });
  const { kept } = await compressOnce(made, keyDiff(), { ratio: 0.4 });
  kept.forEach((positions, row) => {
    const units = Array.from({ length: 25 }, (_, position) => {
      const { key } = made.tokens(0, row >> 1, position);
      const own = [...key.subarray((row & 1) * 6, (row & 1) * 6 + 6)];
      return own.map((x) => x / Math.hypot(...own));
    });
    const anchor = units[0]!.map((_, c) => units.reduce((sum, unit) => sum + unit[c]!, 0));
    const likeness = units.map((unit) => unit.reduce((dot, x, c) => dot + x * anchor[c]!, 0));
    const order = [...likeness.keys()].sort((a, b) => likeness[a]! - likeness[b]!);
    expect(positions).toEqual(order.slice(0, 10).sort((a, b) => a - b));
  });
});
