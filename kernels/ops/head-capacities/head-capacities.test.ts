import { expect, it } from "vitest";
import { headCapacities } from "./head-capacities.ts";

const capacities = (more: object, headScores = [0.4, 0.3, 0.2, 0.1]) =>
  Array.from(
    headCapacities({
      shape: { numLayers: 2, numQueryHeads: 2, numKvHeads: 2 },
      headScores: Float64Array.from(headScores),
      tokens: 128,
      window: 8,
      beta: 1.01,
      temperature: 1,
      ...more,
    }),
    (count) => count - 8,
  );

it("gives the worked example", () => {
  expect(capacities({})).toEqual([191, 144, 96, 49]);
  expect(capacities({ beta: 2 })).toEqual([156, 132, 108, 84]);
});

it("does not look at the scale of the scores; all zero shares evenly", () => {
  expect(capacities({}, [8, 6, 4, 2])).toEqual([191, 144, 96, 49]);
  expect(capacities({}, [0, 0, 0, 0])).toEqual([120, 120, 120, 120]);
  expect(capacities({ temperature: 0 })).toEqual([120, 120, 120, 120]);
});

it("raises scores to the temperature", () => {
  // 16 : 9 : 4 : 1 of 472, and 2 each.
  expect(capacities({ temperature: 2 })).toEqual([254, 144, 65, 18]);
});

it("gives a KV head the mean of its query heads, halves to even", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1 };
  // (191 + 144) / 2 and (96 + 49) / 2.
  expect(capacities({ shape })).toEqual([168, 72]);
});

it("leaves the window where nothing is left beside it", () => {
  expect(capacities({ tokens: 5 })).toEqual([0, 0, 0, 0]);
});
