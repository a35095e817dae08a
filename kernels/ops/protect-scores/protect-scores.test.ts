import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { gatherPositions, rowView } from "../../src/row-view.ts";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { protectScores } from "./protect-scores.ts";

it("protects exactly the sinks and the recent positions that are still there", () => {
  const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 40 }),
      fc.nat(45),
      fc.nat(45),
      fc.infiniteStream(fc.boolean()),
      (tokens, sinks, recent, coins) => {
        const { cache, append, keep } = testCache(shape, { numBlocks: 16, blockSize: 8 });
        append(1, tokens);
        const slots = Array.from({ length: tokens }, (_, j) => j).filter(() => coins.next().value);
        keep(1, 0, 1, slots.reverse());
        const batch = testBatch(cache, [1], { protect: { sinks, recent } });
        const scores = hostTensor(new Float32Array(batch.totalSlots).fill(0.25));
        protectScores.reference({ batch, scores });
        const positions = [0, 1].flatMap((head) => [
          ...gatherPositions(rowView(cache, 1, 0, head)),
        ]);
        expect(positions.length).toBe(tokens + slots.length);
        positions.forEach((position, i) => {
          const isProtected = position < sinks || position > tokens - 1 - recent;
          expect(scores.data[i]).toBe(isProtected ? Number.POSITIVE_INFINITY : 0.25);
        });
      },
    ),
    { numRuns: 60 },
  );
});
