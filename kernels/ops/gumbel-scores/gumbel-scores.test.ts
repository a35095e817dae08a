import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { gumbelScores } from "./gumbel-scores.ts";

const shape = { numLayers: 1, numQueryHeads: 1, numKvHeads: 1, headDim: 2 };
const { cache, append } = testCache(shape);
append(0, 4);
const batch = testBatch(cache, [0]);
const weights = [1, 2, 3, 4];

/** The token that wins, by seed. */
function winner(temperature: number, seed: number): number {
  const scores = hostTensor(Float32Array.from(weights, Math.log));
  gumbelScores.reference({ batch, scores, temperature, seed });
  const values = [...scores.data];
  return values.indexOf(Math.max(...values));
}

const shares = (temperature: number) => {
  const wins = [0, 0, 0, 0];
  for (let seed = 0; seed < 8000; seed++) wins[winner(temperature, seed)]!++;
  return wins.map((count) => count / 8000);
};

it("draws a token with a chance proportional to exp(score / temperature)", () => {
  const squares = weights.map((weight) => weight ** 2 / 30);
  // Four standard deviations of 8000 draws are 0.022 at most.
  for (const [temperature, expected] of [
    [1, weights.map((weight) => weight / 10)],
    [0.5, squares],
    [0, [0.25, 0.25, 0.25, 0.25]],
  ] as const)
    shares(temperature).forEach((share, j) => {
      expect(Math.abs(share - expected[j]!)).toBeLessThan(0.023);
    });
});

it("follows the scores alone when it is cold", () => {
  for (let seed = 0; seed < 50; seed++) expect(winner(1e-3, seed)).toBe(3);
});
