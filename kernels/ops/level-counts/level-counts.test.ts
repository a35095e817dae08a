import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { levelCounts } from "./level-counts.ts";

const P = Number.POSITIVE_INFINITY;

it("keeps the lowest whole level that the target allows", () => {
  const { batch, scores } = scoreTable([
    [
      [P, 3, 3, 1],
      [P, 2, 2, 2],
      [0, 0, 1, 3],
    ],
  ]);
  const counts = hostTensor(new Uint32Array(3));
  const kept = (tokens: number) => {
    levelCounts.reference({ batch, scores, target: { tokens }, counts });
    return [...counts.data];
  };
  // Level 3 brings 5 tokens, level 2 eight, level 1 ten.
  expect(kept(1)).toEqual([1, 1, 1]);
  expect(kept(2)).toEqual([3, 1, 1]);
  expect(kept(3)).toEqual([3, 4, 1]);
  expect(kept(4)).toEqual([4, 4, 4]);
});

it("agrees with trying every threshold", () => {
  const row = fc.array(fc.constantFrom(0, 1, 2, 3, P), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(
      fc.array(row, { minLength: 1, maxLength: 5 }),
      fc.double({ min: 0.01, max: 1, noNaN: true }),
      (rows, ratio) => {
        const { batch, scores } = scoreTable([rows]);
        const counts = hostTensor(new Uint32Array(rows.length));
        levelCounts.reference({ batch, scores, target: { ratio }, counts });
        const limit = rows.length * ratio * batch.nextPositions[0]!;
        const options = [0, 1, 2, 3, P].map((threshold) =>
          rows.map((own) => Math.max(1, own.filter((score) => score >= threshold).length)),
        );
        const total = (option: number[]) => option.reduce((sum, count) => sum + count, 0);
        const best = options.find((option) => total(option) <= limit) ?? options[4]!;
        expect([...counts.data]).toEqual(best);
      },
    ),
  );
});
