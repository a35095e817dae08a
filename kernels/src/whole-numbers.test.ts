import fc from "fast-check";
import { expect, it } from "vitest";
import { largestRemainder, roundHalfEven } from "./whole-numbers.ts";

it("rounds halves to the even number", () => {
  expect([0.5, 1.5, 2.5, 3.4999, 3.5001, -0.5, -1.5].map(roundHalfEven)).toEqual([
    0, 2, 2, 3, 4, 0, -2,
  ]);
});

it("shares whole numbers that sum up, none far from what was wanted", () => {
  fc.assert(
    fc.property(
      fc.array(fc.double({ min: 0, max: 30, noNaN: true }), { minLength: 1 }),
      (wanted) => {
        const sum = Math.round(wanted.reduce((total, value) => total + value, 0));
        const shares = largestRemainder(wanted, {
          least: wanted.map(() => 0),
          limits: wanted.map(() => 1000),
          sum,
        });
        expect(shares.reduce((total, share) => total + share, 0)).toBe(sum);
        shares.forEach((share, i) => {
          expect(Math.abs(share - wanted[i]!)).toBeLessThanOrEqual(1 + 1e-9);
        });
      },
    ),
  );
});

it("gives a remainder to the largest fraction, ties to the earlier, within limits", () => {
  const limits = [9, 9, 1, 9];
  expect(largestRemainder([1.4, 1.6, 1.9, 1.6], { least: [0, 0, 0, 0], limits, sum: 6 })).toEqual([
    1, 2, 1, 2,
  ]);
  expect(largestRemainder([5, 0.2, 0], { least: [0, 1, 1], limits, sum: 5 })).toEqual([3, 1, 1]);
});
