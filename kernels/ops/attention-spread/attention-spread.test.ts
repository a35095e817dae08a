import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { windowCache } from "../../src/test-window.ts";
import { attentionSpread } from "./attention-spread.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [tokens, window] = [40, 5];

it("sums entropy and variance over heads and tokens", () => {
  const { batch, attention } = windowCache({ shape, tokens, window, seed: 2, ragged: true });
  const [dispersion, shift] = [0, 1].map(() => hostTensor(new Float32Array(2)));
  attentionSpread.reference({ batch, window, dispersion: dispersion!, shift: shift! });
  for (const layer of [0, 1]) {
    let entropy = 0;
    let variance = 0;
    for (let head = 0; head < 4; head++) {
      const rows = attention(layer, head);
      for (const position of rows[0]!.keys()) {
        if (position >= tokens - window) continue;
        const values = rows.map((row) => row.get(position)!);
        for (const value of values) entropy -= value * Math.log(value + 1e-10);
        const mean = values.reduce((a, b) => a + b, 0) / window;
        variance += values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (window - 1);
      }
    }
    expect(dispersion!.data[layer]! / entropy).toBeCloseTo(1, 6);
    expect(shift!.data[layer]! / variance).toBeCloseTo(1, 6);
  }
});

it("finds no shift in one query", () => {
  const { batch } = windowCache({ shape, tokens, window: 1, seed: 2 });
  const [dispersion, shift] = [0, 1].map(() => hostTensor(new Float32Array(2)));
  attentionSpread.reference({ batch, window: 1, dispersion: dispersion!, shift: shift! });
  expect([...shift!.data]).toEqual([0, 0]);
});
