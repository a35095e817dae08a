import { failed, passed, type Verdict } from "../vectors/case.ts";

/** |ours − expected| ≤ tolerance × max(1, |expected|) for every entry; NaN fails. */
export function close(
  name: string,
  ours: ArrayLike<number>,
  expected: ArrayLike<number>,
  tolerance: number,
): Verdict {
  if (ours.length !== expected.length)
    return failed(`${name}: expected ${expected.length} entries, got ${ours.length}`);
  for (let i = 0; i < expected.length; i++)
    if (!(Math.abs(ours[i]! - expected[i]!) <= tolerance * Math.max(1, Math.abs(expected[i]!))))
      return failed(`${name}[${i}]: expected ${expected[i]}, got ${ours[i]}`);
  return passed;
}

/** Equal lists of ids. */
export function same(name: string, ours: ArrayLike<number>, expected: ArrayLike<number>): Verdict {
  for (let i = 0; i < Math.max(ours.length, expected.length); i++)
    if (ours[i] !== expected[i])
      return failed(`${name}[${i}]: expected ${expected[i]}, got ${ours[i]}`);
  return passed;
}

export const sameText = (name: string, ours: string, expected: string): Verdict =>
  ours === expected
    ? passed
    : failed(`${name}: expected ${JSON.stringify(expected)}, got ${JSON.stringify(ours)}`);
