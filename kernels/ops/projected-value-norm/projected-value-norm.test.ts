import type { HostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { createHostEncoder } from "../../src/host-encoder.ts";
import { gatherValues, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { windowCache } from "../../src/test-window.ts";
import { recordProjectedNorms } from "./projected-value-norm.ts";

const shape = { numLayers: 2, numQueryHeads: 6, numKvHeads: 3, headDim: 4 };
const hiddenSize = 10;
const { cache, batch } = windowCache({ shape, tokens: 300, window: 2, seed: 3, ragged: true });
const weights = [1, 2].map((seed) => randomFloats(randomNumbers(seed), hiddenSize * 24));
const model = {
  hiddenSize,
  rope: () => undefined,
  outputWeight: (layer: number) => weights[layer]!,
};

it("averages the L1 norm of the projected value over the query heads of a row", () => {
  const out = recordProjectedNorms(createHostEncoder(), { ...batch, model }) as HostTensor;
  let at = 0;
  for (const layer of [0, 1])
    for (const head of [0, 1, 2]) {
      const view = rowView(cache, 1, layer, head);
      const values = gatherValues(view);
      for (let j = 0; j < view.length; j++, at++) {
        let wanted = 0;
        for (const queryHead of [2 * head, 2 * head + 1])
          for (let channel = 0; channel < hiddenSize; channel++) {
            let product = 0;
            for (let c = 0; c < 4; c++)
              product += weights[layer]![channel * 24 + queryHead * 4 + c]! * values[j * 4 + c]!;
            wanted += Math.abs(product) / 2;
          }
        expect(Math.abs(out.data[at]! - wanted)).toBeLessThan(1e-5 * wanted);
      }
    }
  expect(at).toBe(batch.totalSlots);
});

it("says so where nobody knows the model", () => {
  expect(() => recordProjectedNorms(createHostEncoder(), batch)).toThrow("output projection");
});
