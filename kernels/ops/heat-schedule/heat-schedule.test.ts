import { expect, it } from "vitest";
import { randomNumbers } from "../../src/test-cache.ts";
import { heatOrder } from "../distance-rank/heat-order.ts";
import { heatSchedule, scaleMass } from "./heat-schedule.ts";

const worked = { scaleTokens: [1, 4, 16, 36, 64], sinkScales: 2, ratio: 0.5, heads: 8 };

it("gives the worked example", () => {
  expect(heatSchedule(worked)).toEqual([0, 0, 0, 5]);
  expect(heatSchedule({ ...worked, ratio: 1 })).toEqual([0, 0, 0, 0]);
  expect(() => heatSchedule({ ...worked, ratio: 0.05 })).toThrow(/0\.0877/);
});

it("never lets the cache grow beyond its budget, and takes no more than it must", () => {
  const random = randomNumbers(2);
  for (let i = 0; i < 200; i++) {
    const scaleTokens = Array.from({ length: 6 }, () => 1 + Math.floor(random() * 40));
    const peak = scaleTokens.slice(0, 5).reduce((sum, tokens) => sum + tokens, 0);
    const sinks = scaleTokens[0]! + scaleTokens[1]!;
    const ratio = sinks / peak + random() * (1 - sinks / peak);
    let cached = 0;
    heatSchedule({ scaleTokens, sinkScales: 2, ratio, heads: 12 }).forEach((without, scale) => {
      cached += scaleTokens[scale]!;
      const held = (x: number) => 12 * cached - x * (cached - Math.min(sinks, cached));
      expect(held(without)).toBeLessThanOrEqual(12 * ratio * peak + 1e-6);
      if (without > 0) expect(held(without - 1)).toBeGreaterThan(12 * ratio * peak - 1e-6);
    });
  }
});

it("measures what every source scale receives; uniform attention leaves the order to ties", () => {
  const scaleTokens = [1, 2, 3, 4];
  const attention = [0, 1].flatMap(() =>
    [2, 3].map((target) => {
      const width = scaleTokens.slice(0, target + 1).reduce((sum, tokens) => sum + tokens, 0);
      const weights = new Float32Array(4 * scaleTokens[target]! * width).fill(1 / width);
      return { target, weights };
    }),
  );
  const mass = scaleMass({ scaleTokens, sinkScales: 1, heads: 4, prompts: 2, attention });
  // Scale 1 has 2 tokens of 6, then of 10; scale 2 three of 10.
  [...mass].forEach((value, i) => {
    expect(value).toBeCloseTo(i % 2 === 0 ? (2 / 6 + 2 / 10) / 2 : 3 / 10, 6);
  });
  expect(heatOrder(new Float64Array(8).fill(0.1), 2, 2).map((order) => [...order])).toEqual([
    [0, 2, 1, 3],
    [0, 2, 1, 3],
  ]);
  expect([...heatOrder([3, 1, 2, 0], 2, 2)[0]!]).toEqual([3, 1, 2, 0]);
});
