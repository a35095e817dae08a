import { cacheLayout } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { curveTokens } from "./curve-counts.ts";

const layout = cacheLayout({ numLayers: 2, numQueryHeads: 3, numKvHeads: 3, headDim: 4 });
/** Entry e (percent − 1) of layer l: fractions of three heads. */
function curveWith(entry: number, layer: number, heads: readonly number[]) {
  const fractions = new Float32Array(99 * 6).fill(0.5);
  fractions.set(heads, (entry * 2 + layer) * 3);
  return { shape: [99, 2, 3] as const, fractions };
}

describe("curveTokens", () => {
  it("rounds down and gives the rest of the layer's total to the largest remainders", () => {
    // 10 tokens: 2.5, 6.25 and 9 of them ideally, 17.75 in all, 18 rounded.
    const curve = curveWith(49, 1, [0.75, 0.375, 0.1]);
    expect([...curveTokens(curve, 1, 3, 10, { ratio: 0.5 }, layout)]).toEqual([3, 6, 9]);
  });

  it("rounds the target to a whole percentage, halves to the even one", () => {
    const curve = curveWith(11, 0, [0, 0, 0]);
    const kept = (ratio: number) => [...curveTokens(curve, 0, 3, 10, { ratio }, layout)];
    expect(kept(0.875)).toEqual([10, 10, 10]);
    expect(kept(0.865)).not.toEqual([10, 10, 10]);
    expect([...curveTokens(curve, 0, 3, 100, { tokens: 88 }, layout)]).toEqual([100, 100, 100]);
  });

  it("keeps one token at least, and everything at ratio 1", () => {
    const curve = curveWith(98, 0, [1, 1, 1]);
    expect([...curveTokens(curve, 0, 3, 10, { ratio: 0.001 }, layout)]).toEqual([1, 1, 1]);
    expect([...curveTokens(curve, 0, 3, 10, { ratio: 1 }, layout)]).toEqual([10, 10, 10]);
  });
});
