import { cacheLayout, hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { cappedShares } from "./capped-shares.ts";
import { layerShareCounts } from "./layer-share-counts.ts";
import { sharedTotal } from "./shared-total.ts";

it("gives the worked example's budgets", () => {
  const limits = [1000, 1000, 1000, 1000];
  expect(cappedShares([40, 10, 20, 10], { total: 400, least: 20, limits })).toEqual([
    180, 60, 100, 60,
  ]);
});

it("keeps the total whatever is capped, in the order of the weights", () => {
  const layer = fc.record({ weight: fc.nat(50), limit: fc.constant(60) });
  fc.assert(
    fc.property(
      fc.array(layer, { minLength: 1, maxLength: 6 }),
      fc.integer({ min: 1, max: 70 }),
      fc.integer({ min: 1, max: 70 }),
      (layers, even, least) => {
        const floor = Math.min(even, least);
        const weights = layers.map(({ weight }) => weight);
        const limits = layers.map(({ limit }) => limit);
        const total = even * layers.length;
        const shares = cappedShares(weights, { total, least: floor, limits });
        expect(shares.reduce((a, b) => a + b)).toBe(Math.min(total, 60 * layers.length));
        shares.forEach((share, i) => {
          expect(share).toBeGreaterThanOrEqual(Math.min(floor, 60));
          expect(share).toBeLessThanOrEqual(60);
          weights.forEach((weight, j) => {
            if (weight > weights[i]!) expect(shares[j]).toBeGreaterThanOrEqual(share);
          });
        });
      },
    ),
  );
});

it("hands a layer's share to all its rows, no more than they have", () => {
  const inf = Number.POSITIVE_INFINITY;
  const row = (length: number) => [inf, ...new Array(length - 1).fill(0)];
  const { batch, scores } = scoreTable([[row(9), row(3), row(9), row(9)]], { numKvHeads: 2 });
  const counts = hostTensor(new Uint32Array(4));
  layerShareCounts.reference({
    ...{ batch, scores, counts, target: { tokens: 4 } },
    weights: hostTensor(Float32Array.of(3, 1)),
    floor: { fraction: 0.5 },
  });
  expect([...counts.data]).toEqual([5, 3, 3, 3]);
});

it("adds up what rows get that may pass it on", () => {
  const layout = cacheLayout({ numLayers: 2, numQueryHeads: 1, numKvHeads: 1, headDim: 4 });
  const request = {
    lengths: Uint32Array.of(30, 2),
    nextPosition: 30,
    layout,
    protect: { sinks: 1, recent: 3 },
  };
  expect(sharedTotal({ ...request, target: { tokens: 10 } })).toBe(20);
  expect(sharedTotal({ ...request, target: { ratio: 0.1 } })).toBe(8);
  expect(sharedTotal({ ...request, target: { ratio: 1 } })).toBe(32);
  expect(() => sharedTotal({ ...request, target: { tokens: 3 } })).toThrow("4 must stay");
});
