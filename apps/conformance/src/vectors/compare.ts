import { failed, passed, type VectorCase, type Verdict } from "./case.ts";

type Numbers = ArrayLike<number>;

/** The first verdict that is not a pass, or a pass. */
export const first = (...verdicts: readonly Verdict[]): Verdict =>
  verdicts.find((verdict) => verdict.status !== "passed") ?? passed;

/** Every finite expected number within tolerance × max(1, |expected|) of ours. */
export function compareFloats(vector: VectorCase, name: string, ours: Numbers): Verdict {
  const expected = vector.tensors.get(name)!.data;
  const tolerance = vector.tolerance[name] ?? 1e-4;
  if (expected.length !== ours.length)
    return failed(`${name}: expected ${expected.length} entries, got ${ours.length}`);
  for (let i = 0; i < expected.length; i++) {
    const wanted = expected[i]!;
    if (!Number.isFinite(wanted)) continue;
    // Written so that NaN fails.
    if (!(Math.abs(ours[i]! - wanted) <= tolerance * Math.max(1, Math.abs(wanted))))
      return failed(`${name}[${i}]: expected ${wanted}, got ${ours[i]}`);
  }
  return passed;
}

/** All integers equal. */
export function compareIntegers(vector: VectorCase, name: string, ours: Numbers): Verdict {
  const expected = vector.tensors.get(name)!.data;
  if (expected.length !== ours.length)
    return failed(`${name}: expected ${expected.length} entries, got ${ours.length}`);
  for (let i = 0; i < expected.length; i++)
    if (expected[i] !== ours[i])
      return failed(`${name}[${i}]: expected ${expected[i]}, got ${ours[i]}`);
  return passed;
}

export interface KeepRules {
  /** Reference scores that decide which entries tie; none = exact. */
  readonly scores: Numbers | undefined;
  /** Length of every row of the scores. */
  readonly tokens: number;
  /** Whether entries of a row may be any of its first `sinks` slots. */
  readonly freeBelow?: number;
}

/** Kept slots per row: equal counts, and swaps only between entries that tie. */
export function compareKeep(
  vector: VectorCase,
  indptr: Numbers,
  indices: Numbers,
  { scores, tokens, freeBelow = 0 }: KeepRules,
): Verdict {
  const counts = compareIntegers(vector, "indptr", indptr);
  if (counts.status !== "passed") return counts;
  const expected = vector.tensors.get("indices")!.data;
  for (let row = 0; row + 1 < indptr.length; row++) {
    const range = { from: indptr[row]!, to: indptr[row + 1]! };
    const wanted = slice(expected, range);
    const got = slice(indices, range);
    const missing = wanted.filter((slot) => !got.includes(slot));
    const extra = got.filter((slot) => !wanted.includes(slot));
    const rowScores = scores && slice(scores, { from: row * tokens, to: (row + 1) * tokens });
    if (!swappable(missing, extra, rowScores, vector.tolerance.tie ?? 0, freeBelow))
      return failed(`indices of row ${row}: expected also ${missing}, got ${extra} instead`);
  }
  return passed;
}

const slice = (values: Numbers, { from, to }: { from: number; to: number }): number[] =>
  Array.from({ length: to - from }, (_, i) => values[from + i]!);

function swappable(
  missing: readonly number[],
  extra: readonly number[],
  scores: readonly number[] | undefined,
  tie: number,
  freeBelow: number,
): boolean {
  if (missing.length !== extra.length) return false;
  if ([...missing, ...extra].every((slot) => slot < freeBelow)) return true;
  if (missing.length === 0 || scores === undefined) return missing.length === 0;
  const finite = scores.filter(Number.isFinite);
  const range = Math.max(...finite) - Math.min(...finite);
  const byScore = (slots: readonly number[]) =>
    slots.map((slot) => scores[slot]!).sort((a, b) => a - b);
  const ours = byScore(extra);
  return byScore(missing).every(
    (score, i) => score === ours[i] || Math.abs(score - ours[i]!) < tie * range,
  );
}
