import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { createHostEncoder } from "../../src/host-encoder.ts";
import { scoreTable } from "../../src/test-score-table.ts";
import { prefixSum } from "../prefix-sum/prefix-sum.ts";
import { selectShares, shareCounts } from "./chunk-shares.ts";

const inf = Number.POSITIVE_INFINITY;
function run(row: number[], target: { ratio: number } | { tokens: number }, chunk: number) {
  const { batch, scores } = scoreTable([[row]]);
  const encoder = createHostEncoder();
  const counts = encoder.tensor("u32", 1);
  encoder.run(shareCounts, { batch, target, scores, chunk, counts });
  const indptr = encoder.tensor("u32", 2);
  encoder.run(prefixSum, { counts, out: indptr });
  const indices = hostTensor(new Uint32Array(row.length));
  encoder.run(selectShares, { batch, scores, counts, indptr, indices, chunk });
  return [...indices.data.subarray(0, (indptr as never as { data: Uint32Array }).data[1])];
}

it("finds every chunk's share again from the row's count alone", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 90 }),
      fc.integer({ min: 1, max: 40 }),
      fc.double({ min: 0.001, max: 1, noNaN: true }),
      (n, chunk, ratio) => {
        const row = Array.from({ length: n }, (_, j) => Math.sin(j * 9.7));
        const kept = run(row, { ratio }, chunk);
        for (let start = 0; start < n; start += chunk) {
          const span = Math.min(chunk, n - start);
          const own = Array.from({ length: span }, (_, i) => start + i)
            .sort((a, b) => Math.fround(row[b]!) - Math.fround(row[a]!) || a - b)
            .slice(0, Math.max(1, Math.trunc(span * ratio)));
          const got = kept.filter((slot) => slot >= start && slot < start + chunk);
          expect(got).toEqual(own.sort((a, b) => a - b));
        }
      },
    ),
  );
});

it("spends a number of tokens whole, protected ones first", () => {
  expect(run([1, 5, 2, 4, 3, 9, 8, 7], { tokens: 4 }, 4)).toEqual([1, 3, 5, 6]);
  expect(run([1, 5, 2, 4, 3, 9, 8, 7], { tokens: 3 }, 4)).toEqual([1, 5, 6]);
  // Fewer tokens than chunks: those whose best token is best.
  expect(run([1, 5, 2, 4, 3, 9, 8, 7], { tokens: 2 }, 2)).toEqual([5, 6]);
  expect(run([1, 5, 2, 4, 3, 9, inf, inf], { tokens: 3 }, 4)).toEqual([1, 6, 7]);
  expect(run([1, 5, 2, 4, inf, inf, inf, inf], { ratio: 0.25 }, 4)).toEqual([1, 4, 5, 6, 7]);
});
