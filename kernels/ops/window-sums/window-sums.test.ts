import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherPositions, rowView } from "../../src/row-view.ts";
import { windowCache } from "../../src/test-window.ts";
import { windowSums } from "./window-sums.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const options = { shape, tokens: 30, window: 3, seed: 7, ragged: true };
const { cache, batch, attention } = windowCache(options);

for (const window of [1, 3])
  it(`adds up what the last ${window} queries pay, per query head and slot`, () => {
    const out = hostTensor(new Float32Array(2 * batch.totalSlots));
    windowSums.reference({ batch, window, out });
    let at = 0;
    for (const layer of [0, 1])
      for (const head of [0, 1])
        for (const member of [0, 1]) {
          const rows = attention(layer, 2 * head + member).slice(-window);
          for (const position of gatherPositions(rowView(cache, 1, layer, head))) {
            const wanted = rows.reduce((sum, row) => sum + (row.get(position) ?? 0), 0);
            expect(Math.abs(out.data[at++]! - wanted)).toBeLessThan(1e-6);
          }
        }
  });

it("hands the native op its numbers in the agreed order", () => {
  const out = hostTensor(new Float32Array(2 * batch.totalSlots));
  const call = windowSums.native!({ batch, window: 3, out });
  expect(call.integers).toEqual([2 * batch.totalSlots, 1, 2, 3]);
  expect(call.floats).toEqual([0.5]);
  expect(() => windowSums.reference({ batch, window: 4, out })).toThrow("windowSize ≥ 4");
});
