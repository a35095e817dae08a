import fc from "fast-check";
import { expect, it } from "vitest";
import { layerTopCounts } from "./layer-top-counts.ts";

it("counts per row what a full sort of all entries takes, ties to the earlier row", () => {
  const row = fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 12 });
  fc.assert(
    fc.property(fc.array(row, { minLength: 1, maxLength: 5 }), fc.nat(70), (rows, total) => {
      const entries = rows.flatMap((values, index) => values.map((value) => ({ value, index })));
      entries.sort((a, b) => b.value - a.value || a.index - b.index);
      const expected = rows.map(() => 0);
      for (const { index } of entries.slice(0, total)) expected[index] = expected[index]! + 1;
      const arrays = rows.map((values) => Float64Array.from(values));
      expect([...layerTopCounts(arrays, total)]).toEqual(expected);
    }),
  );
});

it("lets infinite entries win", () => {
  const rows = [Float64Array.of(1, Infinity), Float64Array.of(2, 3)];
  expect([...layerTopCounts(rows, 2)]).toEqual([1, 1]);
});
