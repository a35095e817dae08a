import { expect, it } from "vitest";
import { gatherKeys, gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers, testBatch, testCache } from "../../src/test-cache.ts";
import { distanceMass } from "./distance-mass.ts";

it("adds up attention by distance, for every query head and all layers", () => {
  const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
  const random = randomNumbers(8);
  const { cache, append, keep, writeKeys } = testCache(shape, { blockSize: 4 });
  append(0, 14);
  for (let row = 0; row < 4; row++) writeKeys(0, row >> 1, row & 1, randomFloats(random, 14 * 4));
  keep(0, 1, 0, [13, 12, 3, 2, 1, 0, 11]);
  const edges = [2, 5];
  const queries = [0, 1].map(() => randomFloats(random, 3 * 16, 2));
  const mass = new Float64Array(2 * 4 * 3);
  const seen = new Float64Array(3);
  const batch = testBatch(cache, [0]);
  // The last three tokens are the queries.
  distanceMass.reference({
    batch,
    queries: (layer) => queries[layer]!,
    start: 11,
    count: 3,
    edges,
    mass,
    seen,
  });
  expect([...seen]).toEqual([3, 3, 3]);
  for (let layer = 0; layer < 2; layer++)
    for (let head = 0; head < 4; head++) {
      const view = rowView(cache, 0, layer, head >> 1);
      const keys = gatherKeys(view);
      const positions = [...gatherPositions(view)];
      const expected = [0, 0, 0];
      for (let i = 0; i < 3; i++) {
        const weights = positions.map((position, j) => {
          let dot = 0;
          for (let c = 0; c < 4; c++)
            dot += queries[layer]![(i * 4 + head) * 4 + c]! * keys[j * 4 + c]!;
          return position <= 11 + i ? Math.exp(dot / 2) : 0;
        });
        const total = weights.reduce((sum, weight) => sum + weight, 0);
        weights.forEach((weight, j) => {
          const distance = 11 + i - positions[j]!;
          expected[distance < 2 ? 0 : distance < 5 ? 1 : 2]! += weight / total;
        });
      }
      expected.forEach((value, stretch) => {
        expect(mass[(layer * 4 + head) * 3 + stretch]).toBeCloseTo(value, 8);
      });
      // Every query's attention is somewhere.
      const own = mass.subarray((layer * 4 + head) * 3, (layer * 4 + head + 1) * 3);
      expect(own.reduce((sum, value) => sum + value, 0)).toBeCloseTo(3, 8);
    }
});
