import { expect, it } from "vitest";
import { quantiseRows } from "./quantise-rows.ts";

it.each([4, 8] as const)("int%i: off by half a step at most, 0 exact, rows filled up", (bits) => {
  const columns = 70;
  const weights = Float32Array.from({ length: 3 * columns }, (_, i) => Math.sin(i * i) + 0.3);
  weights.fill(0, 0, columns);
  weights[columns] = 0;
  const { values, scales, zeros } = quantiseRows(weights, columns, bits, "w");
  expect([values.length, scales.length, zeros.length]).toEqual([3 * 3 * 4 * bits, 9, 9]);
  for (let row = 0; row < 3; row++)
    for (let column = 0; column < 96; column++) {
      const at = row * 96 + column;
      const value = bits === 8 ? values[at]! : (values[at >> 1]! >> (4 * (at & 1))) & 15;
      const block = row * 3 + (column >> 5);
      const restored = scales[block]! * (value - zeros[block]!);
      const weight = column < columns ? weights[row * columns + column]! : 0;
      if (weight === 0) expect(restored).toBe(0);
      // The zero point is rounded too: another half step at the ends of the range.
      else expect(Math.abs(restored - weight)).toBeLessThanOrEqual(1.0001 * scales[block]!);
    }
});

it("refuses what is not finite", () => {
  for (const bad of [Number.NaN, Number.POSITIVE_INFINITY])
    expect(() => quantiseRows(Float32Array.of(1, bad), 2, 8, "w")).toThrow(/not finite/);
});
