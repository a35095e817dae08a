import { describe, expect, it } from "vitest";
import { shareScores } from "./norm-shares.ts";

const keys = Float64Array.of(1, 3, 2, 2, 0, 0, 5);
const values = Float64Array.of(4, 4, 1, 3, 2, 2, 1);
const positions = Int32Array.of(0, 1, 2, 3, 4, 5, 6);
const rule = { leverage: "product", localWindow: 2, sinks: 0 } as const;
const normed = (scores: readonly number[]) =>
  scores.map((score) => score / scores.reduce((sum, x) => sum + x, 0));
const close = (got: Float64Array, wanted: readonly number[]) =>
  wanted.forEach((value, j) => {
    expect(got[j], `token ${j}`).toBeCloseTo(value, 12);
  });

describe("shareScores", () => {
  it("shares out squared norms within windows of consecutive tokens", () => {
    // Windows {0, 1}, {2, 3}, {4, 5} and {6}; the third one's keys are all zero.
    const key = [1 / 4, 3 / 4, 1 / 2, 1 / 2, 0, 0, 1];
    const value = [1 / 2, 1 / 2, 1 / 4, 3 / 4, 1 / 2, 1 / 2, 1];
    close(shareScores(keys, values, positions, rule), normed(key.map((x, j) => x * value[j]!)));
    const average = { ...rule, leverage: "average" } as const;
    close(shareScores(keys, values, positions, average), normed(key.map((x, j) => x + value[j]!)));
    close(shareScores(keys, values, positions, { ...rule, leverage: "value" }), normed(value));
  });

  it("goes by position, not by slot, and protects the first ones", () => {
    const slots = [6, 2, 0, 4, 1, 3, 5];
    const pick = (numbers: Float64Array) => Float64Array.from(slots, (j) => numbers[j]!);
    const expected = shareScores(keys, values, positions, rule);
    const shuffled = shareScores(pick(keys), pick(values), Int32Array.from(slots), {
      ...rule,
      sinks: 1,
    });
    shuffled.forEach((score, j) => {
      expect(score).toBe(slots[j] === 0 ? Number.POSITIVE_INFINITY : expected[slots[j]!]);
    });
  });

  it("takes norms as they are without a window, and zeros as zeros", () => {
    close(
      shareScores(keys, values, positions, { ...rule, leverage: "key", localWindow: 0 }),
      normed([...keys]),
    );
    const none = new Float64Array(7);
    expect([...shareScores(none, none, positions, rule)]).toEqual([...none]);
  });
});
