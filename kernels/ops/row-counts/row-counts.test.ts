import { hostTensor } from "@kvcache/core";
import { expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { rowCounts } from "./row-counts.ts";

it("cuts each row to what its head may keep, by layer also where some are left out", () => {
  const row = (length: number) => new Array<number>(length).fill(0);
  const { batch } = scoreTable(
    [
      [row(5), row(2), row(7), row(7)],
      [row(1), row(9), row(4), row(4)],
    ],
    { numKvHeads: 2 },
  );
  const wanted = hostTensor(Uint32Array.of(3, 3, 0, 9, 8, 7, 6, 2));
  const counts = hostTensor(new Uint32Array(8));
  rowCounts.reference({ batch, wanted, counts });
  expect([...counts.data]).toEqual([3, 2, 1, 7, 1, 7, 4, 2]);
  const upper = { ...batch, layers: [1], sequences: [0], numRows: 2 };
  rowCounts.reference({ batch: upper, wanted, counts });
  expect([...counts.data].slice(0, 2)).toEqual([1, 2]);
});
