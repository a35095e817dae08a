import { type BudgetTarget, hostTensor } from "@kvcache/core";
import { describe, expect, it } from "vitest";
import { gatherPositions, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { windowCache } from "../../src/test-window.ts";
import { defensiveScore } from "./defensive-score.ts";

const shape = { numLayers: 2, numQueryHeads: 6, numKvHeads: 3, headDim: 4 };
const [tokens, window] = [60, 6];

for (const ragged of [false, true])
  describe(ragged ? "over ragged rows" : "over whole rows", () => {
    const { cache, batch, attention } = windowCache({ shape, tokens, window, seed: 5, ragged });
    const norms = randomFloats(randomNumbers(8), batch.totalSlots).map(Math.abs);

    /** Scores of layer 1 by head and position, written from the definition. */
    function expected(target: BudgetTarget | undefined, mass: number, bias: number | "reference") {
      const review = (map: Map<number, number>) => [...map].filter(([p]) => p < tokens - window);
      let at = 0;
      for (let row = 0; row < 3; row++) at += rowView(cache, 1, 0, row).length;
      const normOf: Map<number, number>[] = [];
      let recent = 0;
      const heads = [0, 1, 2].map((head) => {
        const positions = [...gatherPositions(rowView(cache, 1, 1, head))];
        normOf.push(new Map(positions.map((position, slot) => [position, norms[at + slot]!])));
        at += positions.length;
        const mean = new Map<number, number>();
        const worst = new Map<number, number>();
        for (const queryHead of [2 * head, 2 * head + 1])
          for (const weights of attention(1, queryHead)) {
            const row = review(weights).sort(([a], [b]) => a - b);
            const values = row.map(([, value]) => value);
            recent += values.slice(-window).reduce((a, b) => a + b, 0) / (6 * window);
            const pooled = values.map(
              (_, j) => values.slice(Math.max(0, j - 2), j + 3).reduce((a, b) => a + b, 0) / 5,
            );
            const sum = (list: number[]) => list.reduce((a, b) => a + b, 0);
            row.forEach(([position, value], j) => {
              mean.set(position, (mean.get(position) ?? 0) + value);
              const scaled = (pooled[j]! * sum(values)) / sum(pooled);
              worst.set(position, Math.max(worst.get(position) ?? 0, scaled));
            });
          }
        const floor = [...worst.values()].reduce((a, b) => a + b, 0) / worst.size;
        return { mean, worst: new Map([...worst].map(([p, v]) => [p, Math.max(v, floor)])) };
      });
      const scores = heads.map(
        ({ worst }, head) =>
          new Map(
            [...worst].map(([p, v]) => {
              const all = normOf.reduce((sum, map) => sum + (map.get(p) ?? 0), 0);
              return [p, (v * normOf[head]!.get(p)!) / all];
            }),
          ),
      );
      const most = Math.max(...scores.flatMap((map) => [...map.values()]));
      const threshold = mass - (bias === "reference" ? recent : bias);
      heads.forEach(({ mean }, head) => {
        const all = [...mean.values()].reduce((a, b) => a + b, 0);
        const sorted = [...mean].sort(([, a], [, b]) => b - a);
        let carried = 0;
        let count = 0;
        for (const [, value] of sorted) {
          carried += value / all;
          if (carried >= threshold) break;
          count++;
        }
        const limit =
          target === undefined
            ? count
            : Math.trunc((tokens - window) * (target as { ratio: number }).ratio - window);
        for (const [position] of sorted.slice(0, Math.max(0, Math.min(count, limit))))
          scores[head]!.set(position, most);
        for (const position of normOf[head]!.keys())
          if (position >= tokens - window) scores[head]!.set(position, most);
      });
      return scores;
    }

    for (const [target, mass, bias] of [
      [{ ratio: 0.5 }, 0.9, "reference"],
      [{ ratio: 0.3 }, 0.9, 0],
      [undefined, 0.5, 0.1],
    ] as const)
      it(`agrees with a recomputation: ${JSON.stringify([target, mass, bias])}`, () => {
        const out = hostTensor(new Float32Array(batch.totalSlots));
        defensiveScore.reference({
          ...{ batch, target, out, window, criticalMass: mass, windowBias: bias },
          norms: hostTensor(norms),
          pooling: { kind: "avg", size: 5 },
        });
        const wanted = expected(target, mass, bias);
        let at = 0;
        for (const layer of [0, 1])
          for (let head = 0; head < 3; head++)
            for (const position of gatherPositions(rowView(cache, 1, layer, head))) {
              const got = out.data[at++]!;
              if (layer === 1)
                expect(Math.abs(got - wanted[head]!.get(position)!)).toBeLessThan(1e-6);
            }
        expect(at).toBe(batch.totalSlots);
      });
  });
