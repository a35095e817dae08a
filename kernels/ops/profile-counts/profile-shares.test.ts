import fc from "fast-check";
import { expect, it } from "vitest";
import { profileShares, type ShareFamily } from "./profile-shares.ts";

const tiers: ShareFamily = {
  kind: "tiers",
  lowFraction: 0.25,
  highFraction: 0.25,
  lowFactor: 0.5,
  highFactor: 1.6,
};
const families = fc.oneof(
  fc.constant(tiers),
  fc.record({ kind: fc.constant("power" as const), exponent: fc.constantFrom(0, 0.5, 1, 2) }),
);

it("is exact, within floor and limit, and never inverts importance", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.integer({ min: 0, max: 99 }), { minLength: 1, maxLength: 8 }),
      fc.integer({ min: 5, max: 60 }),
      families,
      (importance, even, family) => {
        const rows = importance.length;
        const shares = profileShares(importance, {
          family,
          total: even * rows,
          least: importance.map(() => 5),
          limits: importance.map(() => 50),
        });
        expect(shares.reduce((a, b) => a + b)).toBe(Math.min(50, even) * rows);
        shares.forEach((share, i) => {
          expect(share).toBeGreaterThanOrEqual(5);
          expect(share).toBeLessThanOrEqual(50);
          shares.forEach((other, j) => {
            // Inside a tier, what is left over by rounding goes to the earlier rows.
            const rounding = family.kind === "tiers" ? 1 : 0;
            if (importance[j]! > importance[i]!)
              expect(other).toBeGreaterThanOrEqual(share - rounding);
          });
        });
      },
    ),
  );
});

it("shares in proportion above the floor, or by tiers", () => {
  const options = { total: 200, least: [10, 10, 10, 10], limits: [99, 99, 99, 99] };
  const importance = [1, 3, 2, 4];
  const power = (exponent: number) =>
    profileShares(importance, { ...options, family: { kind: "power", exponent } });
  expect(power(0)).toEqual([50, 50, 50, 50]);
  expect(power(1)).toEqual([26, 58, 42, 74]);
  // 160 × (1, 9, 4, 16) / 30 = 5.3, 48, 21.3, 85.3; 95.3 stays below 99.
  expect(power(2)).toEqual([16, 58, 31, 95]);
  // 25, 80, and 47.5 for each in the middle.
  expect(profileShares(importance, { ...options, family: tiers })).toEqual([25, 48, 47, 80]);
});

it("passes on what a row cannot hold", () => {
  const shares = profileShares([1, 1, 2], {
    family: { kind: "power", exponent: 1 },
    total: 90,
    least: [5, 5, 5],
    limits: [99, 99, 20],
  });
  expect(shares).toEqual([35, 35, 20]);
});
