import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { drawSettings, drawTokens } from "./draw-tokens.ts";

function draw(rows: readonly number[][], temperatures: number[], randoms: number[]): number[] {
  const tokens = new Int32Array(rows.length).fill(-7);
  const draws = {
    temperatures: Float64Array.from(temperatures),
    randoms: Float64Array.from(randoms),
  };
  drawTokens.reference({
    logits: hostTensor(Float32Array.from(rows.flat())),
    settings: hostTensor(drawSettings(draws)),
    tokens: hostTensor(tokens),
  });
  return [...tokens];
}

describe("draw-tokens", () => {
  it("draws where the number falls into the distribution", () => {
    const logit = fc.float({ min: -20, max: 20, noNaN: true });
    const row = fc.array(logit, { minLength: 1, maxLength: 20 });
    const temperature = fc.double({ min: 0.2, max: 3, noNaN: true });
    const random = fc.double({ min: 0, max: 0.999_999, noNaN: true });
    fc.assert(
      fc.property(row, temperature, random, (logits, t, r) => {
        const [token] = draw([logits], [t], [r]) as [number];
        // Shares of ids below the token, and of those up to it.
        const share = (ids: number[]) =>
          ids.reduce((sum, logit) => sum + Math.exp((logit - Math.max(...logits)) / t), 0) /
          logits.reduce((sum, logit) => sum + Math.exp((logit - Math.max(...logits)) / t), 0);
        expect(share(logits.slice(0, token))).toBeLessThanOrEqual(r + 1e-4);
        expect(share(logits.slice(0, token + 1))).toBeGreaterThan(r - 1e-4);
      }),
    );
  });

  it("takes the largest logit at temperature 0, the lowest id of equals, row by row", () => {
    const rows = [
      [1, 3, 3, 2],
      [-0, 0, -1, -0],
      [-9, -8, Number.NEGATIVE_INFINITY, -8.5],
    ];
    expect(draw(rows, [0, 0, 0], [0.9, 0.9, 0.9])).toEqual([1, 0, 1]);
  });

  it("never draws what is impossible, and says where nothing can be drawn", () => {
    const inf = Number.POSITIVE_INFINITY;
    const rows = [
      [-inf, 0, -inf],
      [1, Number.NaN, 0],
      [1, inf, 0],
      [-inf, -inf, -inf],
    ];
    for (const t of [0, 0.7])
      for (const r of [0, 0.999_999_9])
        expect(draw(rows, [t, t, t, t], [r, r, r, r])).toEqual([1, -1, -1, -1]);
  });
});
