import { expect, it } from "vitest";
import { checkFraction, checkOneOf, checkWholeNumber } from "./check-option.ts";

it("gives good values back and names the option of bad ones", () => {
  expect(checkOneOf("mode", "a", ["a", "b"])).toBe("a");
  expect(() => checkOneOf<string>("mode", "c", ["a", "b"])).toThrow(
    'mode cannot be "c". Use "a" or "b".',
  );
  expect(checkWholeNumber("window", 3, 1)).toBe(3);
  for (const bad of [0, 1.5, Number.NaN, Infinity, "3" as unknown as number])
    expect(() => checkWholeNumber("window", bad, 1)).toThrow("window must be a whole number");
  expect(checkFraction("floor", 0)).toBe(0);
  for (const bad of [-0.1, 1.1, Number.NaN, "0.5" as unknown as number])
    expect(() => checkFraction("floor", bad)).toThrow("floor must be in [0, 1]");
});
