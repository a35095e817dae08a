import { hostArray, hostTensor, indptrOf } from "@kvcache/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { createHostEncoder } from "../../src/host-encoder.ts";
import { testBatch, testCache } from "../../src/test-cache.ts";
import { recordTopK, topK } from "./top-k.ts";

const score = fc.oneof(
  fc.constantFrom(0, -0, 1, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY),
  fc.float({ noNaN: true }),
);
const rowsOf = fc.array(
  fc
    .array(score, { maxLength: 30 })
    .chain((row) => fc.record({ row: fc.constant(row), count: fc.nat(row.length) })),
  { minLength: 1, maxLength: 6 },
);

function run(
  rows: readonly { row: number[]; count: number }[],
  tieRule?: "lower-slot" | "higher-slot",
) {
  const counts = Uint32Array.from(rows, ({ count }) => count);
  const indptr = indptrOf(counts);
  const indices = hostTensor(new Uint32Array(indptr.at(-1)! + 3).fill(99));
  topK.reference({
    rowIndptr: hostTensor(indptrOf(rows.map(({ row }) => row.length))),
    scores: hostTensor(Float32Array.from(rows.flatMap(({ row }) => row))),
    counts: hostTensor(counts),
    indptr: hostTensor(indptr),
    indices,
    ...(tieRule && { tieRule }),
  });
  expect([...indices.data.slice(-3)]).toEqual([99, 99, 99]);
  return rows.map((_, r) => [...indices.data.slice(indptr[r]!, indptr[r + 1]!)]);
}

describe("top-k", () => {
  for (const tieRule of ["lower-slot", "higher-slot"] as const)
    it(`equals a full sort with ties to the ${tieRule}`, () => {
      fc.assert(
        fc.property(rowsOf, (rows) => {
          const expected = rows.map(({ row, count }) =>
            [...row.keys()]
              .sort((a, b) => {
                const order = tieRule === "lower-slot" ? a - b : b - a;
                return row[a] === row[b] ? order : row[b]! > row[a]! ? 1 : -1;
              })
              .slice(0, count)
              .sort((a, b) => a - b),
          );
          expect(run(rows, tieRule)).toEqual(expected);
        }),
        { numRuns: 300 },
      );
    });

  it("lets the lower slot win by default", () => {
    expect(run([{ row: [1, 2, 2, 2], count: 2 }])).toEqual([[1, 2]]);
  });

  it("refuses NaN and counts that a row cannot serve", () => {
    expect(() => run([{ row: [1, Number.NaN], count: 1 }])).toThrowError(/not a number/);
    expect(() => run([{ row: [1], count: 2 }])).toThrowError(/cannot keep 2/);
  });

  it("records a keep set for a batch", () => {
    const shape = { numLayers: 1, numQueryHeads: 2, numKvHeads: 2, headDim: 2 };
    const { cache, append } = testCache(shape);
    append(0, 5);
    const encoder = createHostEncoder();
    const keep = recordTopK(
      encoder,
      testBatch(cache, [0]),
      encoder.upload(Float32Array.of(5, 1, 4, 2, 3, 0, 0, 9, 0, 0)),
      encoder.upload(Uint32Array.of(3, 2)),
    );
    expect([...hostArray(keep.indptr, "u32")]).toEqual([0, 3, 5]);
    expect([...hostArray(keep.indices, "u32").slice(0, 5)]).toEqual([0, 2, 4, 0, 2]);
  });
});
