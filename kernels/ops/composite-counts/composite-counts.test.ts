import { type BudgetTarget, hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { type CompositeCountsParams, compositeCounts } from "./composite-counts.ts";

type Options = Pick<CompositeCountsParams, "structured" | "aggregateHeads" | "minimumTokens">;
const plain: Options = { structured: true, aggregateHeads: "mean", minimumTokens: 0 };

/** Three layers of two heads. Composites (means): 9 5 2 0, 6 6 1 1, 2 2 2 2. */
const rows = [
  [2, 10, 0, 6],
  [4, 2, 8, 0],
  [6, 6, 1, 1],
  [1, 1, 6, 6],
  [2, 2, 2, 2],
  [2, 2, 2, 2],
];

function run(target: BudgetTarget, options: Options) {
  const { batch, scores } = scoreTable([rows], { numKvHeads: 2 });
  const counts = hostTensor(new Uint32Array(rows.length));
  compositeCounts.reference({ batch, target, scores, counts, ...options });
  return [...counts.data];
}

it("gives layers what their composites are worth, layer 0 the best of each rank", () => {
  // Layer 0 competes with 9 6 2 2: of 12 composites 4 stay, 9 and three times 6.
  expect(run({ ratio: 0.4 }, plain)).toEqual([2, 2, 2, 2, 1, 1]);
  // 8: both layers' next values, 2 2, are layer 0's; 2 2 of layer 2 complete the eight.
  expect(run({ ratio: 0.67 }, plain)).toEqual([4, 4, 2, 2, 2, 2]);
  expect(run({ ratio: 1 }, plain)).toEqual([4, 4, 4, 4, 4, 4]);
});

it("scores composites by their best head", () => {
  // 10 6 2 2 (raised), 6 6 1 1, 2 2 2 2: five stay, the fifth a 2 of the earliest layer.
  expect(run({ ratio: 0.42 }, { ...plain, aggregateHeads: "max" })).toEqual([3, 3, 2, 2, 1, 1]);
});

it("lets heads go their own ways where nothing is structured", () => {
  // Of 24 entries 9 stay: 10 6 2, 8 4, 6 6 and 6 6.
  expect(run({ ratio: 0.4 }, { ...plain, structured: false })).toEqual([3, 2, 2, 2, 1, 1]);
});

it("keeps a minimum everywhere", () => {
  expect(run({ ratio: 0.5 }, { ...plain, minimumTokens: 2 })).toEqual([2, 2, 2, 2, 2, 2]);
  expect(run({ ratio: 0.1 }, { ...plain, minimumTokens: 3 })).toEqual([3, 3, 3, 3, 3, 3]);
});
