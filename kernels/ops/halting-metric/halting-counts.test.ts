import { hostTensor } from "@kvcache/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { scoreTable } from "../../src/test-score-table.ts";
import { type HaltingDecision, haltingCounts } from "./halting-counts.ts";
import { candidatesToEvict, normLoss } from "./norm-loss.ts";

const worked = [
  [0.4, 0.02, 0.03, 0.02, 0.05, 0.1, 0.13, 0.25],
  [0.3, 0.01, 0.04, 0.05, 0.1, 0.1, 0.15, 0.25],
];

describe("the worked example", () => {
  const candidates = worked.map((row) => Float64Array.from(row.slice(1)));

  it("has its baseline and losses", () => {
    const { baseline, losses } = normLoss(candidates);
    expect(baseline).toBeCloseTo(0.3182, 4);
    [0, 0.0013, 0.0074, 0.0145, 0.0458, 0.0991, 0.2143].forEach((loss, c) => {
      expect(Math.abs(losses[c]! - loss)).toBeLessThan(1e-4);
    });
    expect([0.01, 0.05, 0.1].map((t) => candidatesToEvict(normLoss(candidates), t))).toEqual([
      2, 4, 5,
    ]);
  });

  const run = (threshold: number, ratio = 1, skipLayers: number[] = []) => {
    const inf = Number.POSITIVE_INFINITY;
    const byPosition = [inf, 1, 2, 3, 4, 5, 6, 7];
    const { batch, scores } = scoreTable([[byPosition, byPosition]], { numKvHeads: 2 });
    const counts = hostTensor(new Uint32Array(2));
    const attention = hostTensor(Float32Array.from(worked.flat()));
    const decisions: HaltingDecision[] = [];
    haltingCounts.reference({
      ...{ batch, scores, counts, attention, threshold, skipLayers, target: { ratio } },
      onLayer: (decision) => decisions.push(decision),
    });
    return { counts: [...counts.data], decisions };
  };

  it("keeps the sink and the rest", () => {
    expect([0.01, 0.05, 0.1, 1].map((t) => run(t).counts)).toEqual([
      [6, 6],
      [4, 4],
      [3, 3],
      [2, 2],
    ]);
    expect(run(0.05).decisions).toMatchObject([{ layer: 0, sequence: 0, evicted: 4 }]);
  });

  it("is capped by a target, and exempts layers", () => {
    expect(run(0, 0.5).counts).toEqual([4, 4]);
    expect(run(1, 1, [0]).counts).toEqual([8, 8]);
  });
});

it("agrees with a loop that recomputes norms, and knows its limits", () => {
  const weight = fc.double({ min: 0.001, max: 1, noNaN: true });
  const head = fc.array(weight, { minLength: 6, maxLength: 6 });
  const heads = fc.array(head, { minLength: 1, maxLength: 4 });
  fc.assert(
    fc.property(heads, fc.double({ min: 0, max: 1, noNaN: true }), (rows, threshold) => {
      const norm = (c: number) =>
        rows.reduce((sum, row) => sum + Math.hypot(...row.slice(c)), 0) / rows.length;
      const losses = [0, 1, 2, 3, 4, 5].map((c) => (norm(0) - norm(c)) / norm(0));
      fc.pre(losses.every((loss) => Math.abs(loss - threshold) > 1e-9));
      const arrays = rows.map((row) => Float64Array.from(row));
      const found = candidatesToEvict(normLoss(arrays), threshold);
      expect(found).toBe(
        losses.filter((loss) => loss <= threshold).length - (losses[0]! <= threshold ? 1 : 0),
      );
      const scaled = arrays.map((row) => row.map((value) => 8 * value));
      expect(candidatesToEvict(normLoss(scaled), threshold)).toBe(found);
    }),
  );
  const uniform = [new Float64Array(36).fill(1 / 36)];
  // ⌊36 × (1 − 0.95²)⌋
  expect(candidatesToEvict(normLoss(uniform), 0.05)).toBe(3);
  expect(candidatesToEvict(normLoss([new Float64Array(5)]), 1)).toBe(0);
  expect(candidatesToEvict(normLoss([new Float64Array(0)]), 1)).toBe(0);
  expect(candidatesToEvict(normLoss([Float64Array.of(0, 0, 0.5, 0)]), 0)).toBe(2);
});
