import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherPositions, rowView } from "../../src/row-view.ts";
import { windowCache } from "../../src/test-window.ts";
import { spreadScore } from "./spread-score.ts";

const shape = { numLayers: 1, numQueryHeads: 6, numKvHeads: 2, headDim: 4 };
const [tokens, window] = [50, 5];
const { cache, batch, attention } = windowCache({ shape, tokens, window, seed: 9, ragged: true });

for (const groupReduce of ["mean", "max"] as const)
  for (const pooling of [undefined, { kind: "avg", size: 3 }] as const)
    it(`adds variance to the mean, ${pooling ? "pooled" : "not pooled"}, by ${groupReduce}`, () => {
      const out = hostTensor(new Float32Array(batch.totalSlots));
      spreadScore.reference({ batch, out, window, gamma: 200, pooling, groupReduce });
      let at = 0;
      for (const head of [0, 1]) {
        const perHead = [0, 1, 2].map((member) => {
          const rows = attention(0, 3 * head + member);
          const review = [...rows[0]!.keys()].filter((p) => p < tokens - window);
          const sorted = review.sort((a, b) => a - b);
          const values = sorted.map((position) => {
            const own = rows.map((row) => row.get(position)!);
            const mean = own.reduce((a, b) => a + b, 0) / window;
            const square = own.reduce((sum, value) => sum + (value - mean) ** 2, 0);
            return mean + (200 * square) / (window - 1);
          });
          const smooth = values.map((value, j) =>
            pooling
              ? values.slice(Math.max(0, j - 1), j + 2).reduce((a, b) => a + b, 0) / 3
              : value,
          );
          return new Map(sorted.map((position, j) => [position, smooth[j]!]));
        });
        for (const position of gatherPositions(rowView(cache, 1, 0, head))) {
          const own = perHead.map((map) => map.get(position) ?? 0);
          const wanted =
            groupReduce === "max" ? Math.max(...own) : own.reduce((a, b) => a + b, 0) / 3;
          expect(Math.abs(out.data[at++]! - wanted)).toBeLessThan(1e-5 * Math.max(1, wanted));
        }
      }
      expect(at).toBe(batch.totalSlots);
    });
