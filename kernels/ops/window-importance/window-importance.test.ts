import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherKeys, gatherPositions, rowView } from "../../src/row-view.ts";
import { windowCache } from "../../src/test-window.ts";
import { windowImportance } from "./window-importance.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const [tokens, window] = [30, 3];
const { cache, batch } = windowCache({ shape, tokens, window, seed: 7, ragged: true });

/** From the definition: weights of the tokens before the window, by position. */
function expected(layer: number, head: number, reduce: (logits: number[]) => number) {
  const view = rowView(cache, 1, layer, head);
  const keys = gatherKeys(view);
  const before = [...gatherPositions(view).entries()].filter(([, own]) => own < tokens - window);
  const weights = new Map(before.map(([, own]) => [own, 0]));
  for (let position = tokens - window; position < tokens; position++) {
    const exps = before.map(([slot, own]) => {
      const logits = [0, 1].map((member) => {
        const ring = (shape.numLayers + layer) * window + (position % window);
        const query = (ring * shape.numQueryHeads + head * 2 + member) * shape.headDim;
        return [0, 1, 2, 3].reduce(
          (dot, c) => dot + cache.windowQueries[query + c]! * keys[slot * 4 + c]!,
          0,
        );
      });
      return [own, Math.exp(reduce(logits) / 2)] as const;
    });
    const sum = exps.reduce((all, [, x]) => all + x, 0);
    for (const [own, x] of exps) weights.set(own, weights.get(own)! + x / sum / window);
  }
  return weights;
}

const reductions = {
  max: (logits: number[]) => Math.max(...logits),
  mean: (logits: number[]) => (logits[0]! + logits[1]!) / 2,
};

for (const groupReduce of ["max", "mean"] as const)
  it(`takes the ${groupReduce} of a group's logits, and no key of the window`, () => {
    const out = hostTensor(new Float32Array(batch.totalSlots));
    windowImportance.reference({ batch, window, groupReduce, out });
    let at = 0;
    for (const layer of [0, 1])
      for (const head of [0, 1]) {
        const wanted = expected(layer, head, reductions[groupReduce]);
        for (const position of gatherPositions(rowView(cache, 1, layer, head)))
          expect(Math.abs(out.data[at++]! - (wanted.get(position) ?? 0))).toBeLessThan(1e-6);
      }
  });

it("hands the native op its numbers in the agreed order", () => {
  const out = hostTensor(new Float32Array(batch.totalSlots));
  const pooling = { kind: "max", size: 7 } as const;
  const call = windowImportance.native!({ batch, window, pooling, groupReduce: "max", out });
  expect(call.integers).toEqual([batch.totalSlots, 1, 2, window, 2, 7, 1]);
  expect(call.floats).toEqual([0.5]);
});
