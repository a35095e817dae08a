import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherPositions, gatherValues, rowView } from "../../src/row-view.ts";
import { windowCache } from "../../src/test-window.ts";
import { valueBound } from "./value-bound.ts";

it("scales rows by their longest value before the window", () => {
  const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 4 };
  const { cache, batch } = windowCache({ shape, tokens: 30, window: 4, seed: 1, ragged: true });
  const scores = hostTensor(new Float32Array(batch.totalSlots).fill(2));
  valueBound.reference({ batch, scores, window: 4 });
  let at = 0;
  for (const layer of [0, 1])
    for (const head of [0, 1]) {
      const view = rowView(cache, 1, layer, head);
      const values = gatherValues(view);
      const norms = [...gatherPositions(view)].map((position, j) =>
        position < 26
          ? values.subarray(4 * j, 4 * j + 4).reduce((sum, x) => sum + Math.abs(x), 0)
          : 0,
      );
      for (let j = 0; j < view.length; j++)
        expect(scores.data[at++]! / (2 * Math.max(...norms))).toBeCloseTo(1, 6);
    }
});
