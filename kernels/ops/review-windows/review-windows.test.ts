import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherPositions, rowView } from "../../src/row-view.ts";
import { windowCache } from "../../src/test-window.ts";
import { windowSums } from "../window-sums/window-sums.ts";
import { leadingLayers } from "./leading-layers.ts";
import { reviewWindows } from "./review-windows.ts";

const shape = { numLayers: 4, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [tokens, suffix, windowSize] = [61, 6, 8];

for (const ragged of [false, true])
  for (const statistic of ["average", { best: 3 }] as const)
    it(`scores windows ${ragged ? "of ragged rows " : ""}by ${JSON.stringify(statistic)}`, () => {
      const made = windowCache({ shape, tokens, window: suffix, seed: 3, ragged });
      const { cache, batch, attention } = made;
      const out = hostTensor(new Float32Array(batch.totalSlots));
      const groupLayers = 2;
      const leaders = leadingLayers(batch, groupLayers);
      expect(leaders.layers).toEqual([0, 2]);
      const sums = hostTensor(new Float32Array(2 * leaders.totalSlots));
      windowSums.reference({ batch: leaders, window: suffix, out: sums });
      const params = { batch, out, leaders, sums, suffix, windowSize, groupLayers, statistic };
      reviewWindows.reference(params);
      let at = 0;
      for (let layer = 0; layer < 4; layer++) {
        const windows = new Map<number, number[]>();
        for (let head = 0; head < 4; head++) {
          const sums = new Map<number, number>();
          for (const row of attention(layer - (layer % 2), head))
            for (const [position, weight] of row)
              if (position < tokens - suffix)
                sums.set(position, (sums.get(position) ?? 0) + weight);
          for (let window = 0; window * windowSize < tokens; window++) {
            const own = [...sums]
              .filter(([position]) => Math.floor(position / windowSize) === window)
              .map(([, sum]) => sum)
              .sort((a, b) => b - a);
            const counted = statistic === "average" ? own : own.slice(0, 3);
            windows.set(window, [...(windows.get(window) ?? []), ...counted]);
          }
        }
        for (const head of [0, 1])
          for (const position of gatherPositions(rowView(cache, 1, layer, head))) {
            const values = windows.get(Math.floor(position / windowSize))!;
            const mean = values.reduce((a, b) => a + b, 0) / values.length;
            const wanted = position < tokens - suffix ? mean : 0;
            expect(Math.abs(out.data[at++]! - wanted)).toBeLessThan(1e-6);
          }
      }
      expect(at).toBe(batch.totalSlots);
    });
