import type { KvShape } from "@kvcache/core";
import { testScorer, tokenCache } from "@kvcache/testing";
import { describe, expect, it } from "vitest";
import {
  calibrateQueryStatistics,
  capacity,
  compactor,
  cur,
  expectedAttention,
  leverage,
  nonCausalAttention,
  qFilterProjection,
  queryCollector,
  retentionGates,
  surrogate,
} from "./index.ts";
import { testWeights } from "./test-weights.ts";

testScorer("expectedAttention", () => expectedAttention({ futurePositions: 20, sinks: 2 }));
testScorer("expectedAttention of mean queries", () =>
  expectedAttention({ futurePositions: 7, covariance: false, valueNorm: false }),
);
testScorer("capacity", () => capacity({ futurePositions: 20, sinks: 1 }));
testScorer("leverage", () => leverage({ sketch: 5 }));
testScorer("cur", () => cur({ localWindow: 4, sinks: 1 }));
testScorer("cur, projected", () => cur({ leverage: "average", randomProjection: true }));
testScorer("nonCausalAttention", () => nonCausalAttention());
// With such short chunks some are settled when the excursion is cut off.
testScorer("nonCausalAttention, short chunks", () =>
  nonCausalAttention({ chunk: 3, padding: "none" }),
);
testScorer("compactor", () => compactor({ sketch: 6, chunk: 16, ends: { sinks: 1, recent: 2 } }));
testScorer("qFilterProjection", (shape) => qFilterProjection(testWeights(shape).filters));
testScorer("surrogate", (shape) => surrogate(testWeights(shape).surrogate()));
testScorer("surrogate, two maps", (shape) => surrogate(testWeights(shape).surrogate(5)));
testScorer("retentionGates", (shape) => retentionGates({ gates: testWeights(shape).gates }));

const shape: KvShape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };

describe("what does not fit is refused when the plan is made", () => {
  const other = testWeights({ ...shape, numLayers: 3 });
  it.each([
    ["filters", qFilterProjection(null), qFilterProjection(other.filters)],
    ["surrogates", surrogate(null), surrogate(other.surrogate())],
    ["gates", retentionGates({ gates: null }), retentionGates({ gates: other.gates })],
  ])("no %s, or those of another model", (what, without, foreign) => {
    expect(() => without.checkShape?.(shape)).toThrow(`need`);
    expect(() => without.checkShape?.(shape)).toThrow(what);
    expect(() => foreign.checkShape?.(shape)).toThrow("made for another model");
  });

  it("weights for another hidden size, with the first pass", () => {
    const scorer = surrogate(testWeights({ ...shape, headDim: 9 }).surrogate());
    const made = tokenCache({ shape, seed: 1, sequences: 1, maxTokens: 9, windowSize: 0, scorer });
    expect(() => made.feed(0, 3, { flags: 0 })).toThrow(
      "read 39 hidden numbers, this model has 35",
    );
  });
});

describe("query statistics", () => {
  /** Scores of a fed sequence; `cut`: in parts, with a deep cut and the same tokens again. */
  async function scoresOf(scorer = expectedAttention(), parts: readonly number[] = [700]) {
    const made = tokenCache({
      shape,
      seed: 3,
      sequences: 1,
      maxTokens: 720,
      windowSize: 0,
      scorer,
    });
    for (const part of parts) made.feed(0, part, { flags: 0 });
    const batch = made.batch("prefill");
    const { createHostEncoder } = await import("@kvcache/kernels");
    const encoder = createHostEncoder();
    const out = encoder.tensor("f32", batch.totalSlots);
    scorer.score(encoder, batch, out);
    return encoder.read(out);
  }

  it("do not depend on how a prompt is cut into passes", async () => {
    const whole = await scoresOf();
    const parts = await scoresOf(expectedAttention(), [1, 2, 511, 1, 100, 85]);
    whole.forEach((score, slot) => {
      if (Number.isFinite(score)) expect(Math.abs(parts[slot]! / score - 1)).toBeLessThan(1e-4);
    });
  });

  it("from a file replace the sequence's own, and agree with them", async () => {
    const collector = queryCollector(shape, { rotated: false });
    await scoresOf({ ...expectedAttention(), ...collector.scorer });
    const { count } = collector.collected();
    expect(count).toBe(696);
    const statistics = calibrateQueryStatistics(collector.collected(), shape, "a model");
    const own = await scoresOf();
    const loaded = await scoresOf(expectedAttention({ statistics }));
    // Divided by one less.
    loaded.forEach((score, slot) => {
      if (Number.isFinite(score)) expect(Math.abs(score / own[slot]! - 1)).toBeLessThan(0.02);
    });
    const foreign = expectedAttention({ statistics: { ...statistics, shape: [9, 4, 8] } });
    expect(() => foreign.checkShape?.(shape)).toThrow("made for another model");
  });
});

describe("scorers that observe", () => {
  it.each([expectedAttention(), nonCausalAttention(), surrogate(testWeights(shape).surrogate())])(
    "say so where nobody observed: $name",
    (scorer) => {
      const made = tokenCache({ shape, seed: 3, sequences: 1, maxTokens: 20, windowSize: 0 });
      made.feed(0, 10, { flags: 0 });
      const batch = made.batch("prefill");
      expect(() => scorer.score({} as never, batch, {} as never)).toThrow("Nothing was observed");
    },
  );
});
