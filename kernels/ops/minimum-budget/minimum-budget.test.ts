import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { gatherValues, rowView } from "../../src/row-view.ts";
import { randomFloats, randomNumbers } from "../../src/test-cache.ts";
import { scoreTable } from "../../src/test-score-table.ts";
import { windowCache } from "../../src/test-window.ts";
import { windowSums } from "../window-sums/window-sums.ts";
import { layerMeans } from "./layer-means.ts";
import { minimumBudget, tokensForMass } from "./minimum-budget.ts";
import { outputBudget } from "./output-budget.ts";
import { queryHeadBudget } from "./query-head-budget.ts";

it("counts the tokens that carry the mass: the worked example", () => {
  expect(tokensForMass([0.5, 0.3, 0.15, 0.05], 0.9)).toBe(3);
  expect(tokensForMass(new Array(10).fill(0.1), 0.9)).toBe(9);
  expect(tokensForMass([0, 0, 1, 0], 0.9)).toBe(1);
  expect(tokensForMass([], 0.9)).toBe(0);
  const { batch, scores } = scoreTable(
    [
      [
        [5, 3, 1.5, 0.5],
        [1, 1, 1],
      ],
    ],
    { numKvHeads: 2 },
  );
  const out = hostTensor(new Float32Array(2));
  minimumBudget.reference({ batch, importance: scores, mass: 0.9, out });
  expect([...out.data]).toEqual([3, 3]);
  const means = hostTensor(new Float32Array(1));
  layerMeans.reference({ values: out, out: means });
  expect([...means.data]).toEqual([3]);
});

const shape = { numLayers: 1, numQueryHeads: 4, numKvHeads: 2, headDim: 4 };
const { cache, batch, attention } = windowCache({ shape, tokens: 40, window: 6, seed: 4 });

it("looks at every query head on request", () => {
  for (const excludeWindow of [false, true]) {
    const out = hostTensor(new Float32Array(4));
    const sums = hostTensor(new Float32Array(2 * batch.totalSlots));
    windowSums.reference({ batch, window: 6, out: sums });
    const exclude = excludeWindow ? 6 : 0;
    queryHeadBudget.reference({ batch, sums, mass: 0.8, exclude, out });
    [0, 1, 2, 3].forEach((head) => {
      const sums = new Map<number, number>();
      for (const row of attention(0, head))
        for (const [position, weight] of row)
          if (!excludeWindow || position < 34)
            sums.set(position, (sums.get(position) ?? 0) + weight);
      const sorted = [...sums.values()].sort((a, b) => b - a);
      const total = sorted.reduce((a, b) => a + b, 0);
      let tokens = 0;
      for (let carried = 0; carried < 0.8 * total; tokens++) carried += sorted[tokens]!;
      expect(out.data[head]).toBe(tokens);
    });
  }
});

it("counts the tokens whose values make up the output", () => {
  const importance = randomFloats(randomNumbers(3), batch.totalSlots).map(Math.abs);
  const out = hostTensor(new Float32Array(2));
  const params = { batch, importance: hostTensor(importance), similarity: 0.95, out };
  outputBudget.reference(params);
  for (const head of [0, 1]) {
    const values = gatherValues(rowView(cache, 1, 0, head));
    const own = importance.subarray(head * 40, head * 40 + 40);
    const order = [...own.keys()].sort((a, b) => own[b]! - own[a]!);
    const output = (count: number) =>
      [0, 1, 2, 3].map((c) =>
        order.slice(0, count).reduce((sum, j) => sum + own[j]! * values[4 * j + c]!, 0),
      );
    const dot = (a: number[], b: number[]) => a.reduce((sum, x, i) => sum + x * b[i]!, 0);
    const cosine = (count: number) => {
      const [a, b] = [output(count), output(40)];
      return dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
    };
    const fewest = order.map((_, i) => i + 1).find((count) => cosine(count) >= 0.95);
    expect(out.data[head]).toBe(fewest);
  }
  outputBudget.reference({ ...params, similarity: 1 });
  expect(Math.max(...out.data)).toBeLessThanOrEqual(40);
});
