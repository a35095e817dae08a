import fc from "fast-check";
import { expect, it } from "vitest";
import { expNegative } from "./exp-negative.ts";

it("is exp to twelve digits", () => {
  const isClose = (x: number) => {
    const exact = Math.exp(x);
    expect(Math.abs(expNegative(x) - exact)).toBeLessThanOrEqual(exact * 2e-13);
  };
  fc.assert(fc.property(fc.double({ min: -708, max: 0, noNaN: true }), isClose));
  fc.assert(fc.property(fc.double({ min: -1, max: 0, noNaN: true }), isClose));
  for (const x of [-0, 0, -Math.LN2, -708, -Number.EPSILON]) isClose(x);
  expect([expNegative(-750), expNegative(-Infinity)]).toEqual([0, 0]);
  expect(expNegative(Number.NaN)).toBeNaN();
});
