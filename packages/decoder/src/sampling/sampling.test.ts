import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkSamplingParams, createRandom, sampleToken, samplingProbabilities } from "./index.ts";

const none = { promptIds: [], generatedIds: [] };
const logits = fc
  .array(fc.float({ min: -20, max: 20, noNaN: true }), { minLength: 1, maxLength: 60 })
  .map((values) => Float32Array.from(values));
const params = fc.record(
  {
    temperature: fc.double({ min: 0.1, max: 3, noNaN: true }),
    topK: fc.nat(70),
    topP: fc.double({ min: 0.05, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
  },
  { requiredKeys: [] },
);

/** The filters one by one over whole arrays, as transformers applies them. */
function reference(values: Float32Array, { temperature = 1, topK = 0, topP = 1, minP = 0 }) {
  let x = Array.from(values, (v) => v / temperature);
  const softmax = (row: number[]) => {
    const max = Math.max(...row);
    const e = row.map((v) => Math.exp(v - max));
    const total = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / total);
  };
  const drop = (row: number[], keep: (i: number) => boolean) =>
    row.map((v, i) => (keep(i) ? v : -Infinity));
  if (topK > 0) {
    const kth = [...x].sort((a, b) => b - a)[Math.min(topK, x.length) - 1]!;
    x = drop(x, (i) => x[i]! >= kth);
  }
  if (topP < 1) {
    const p = softmax(x);
    const before = p.map((v, i) =>
      p.reduce((mass, other, j) => (other > v || (other === v && j < i) ? mass + other : mass), 0),
    );
    x = drop(x, (i) => before[i]! < topP);
  }
  if (minP > 0) {
    const p = softmax(x);
    const floor = minP * Math.max(...p);
    x = drop(x, (i) => p[i]! >= floor);
  }
  return softmax(x);
}

describe("samplingProbabilities", () => {
  it("equals the filters applied one by one", () => {
    fc.assert(
      fc.property(logits, params, (values, options) => {
        const { probabilities, kept } = samplingProbabilities(values, options, none);
        const expected = reference(values, options);
        // A token exactly at the top-p or min-p border may fall on either side of float noise.
        const differing = expected.filter((p, i) => p > 0 !== (kept[i] === 1)).length;
        fc.pre(differing === 0);
        expected.forEach((p, i) => {
          expect(Math.abs(p - probabilities[i]!)).toBeLessThan(1e-5);
        });
      }),
    );
  });

  it("keeps every tie with the k-th token", () => {
    const { kept } = samplingProbabilities(Float32Array.of(1, 3, 3, 3, 0), { topK: 2 }, none);
    expect([...kept]).toEqual([0, 1, 1, 1, 0]);
  });

  it("penalises each seen id once and generated ids by count", () => {
    const history = { promptIds: [0], generatedIds: [1, 1] };
    const ratio = (options: object) => {
      const { probabilities } = samplingProbabilities(Float32Array.of(2, 2, 2), options, history);
      return [probabilities[0]! / probabilities[2]!, probabilities[1]! / probabilities[2]!].map(
        Math.log,
      );
    };
    for (const [options, expected] of [
      [{ repetitionPenalty: 2 }, [-1, -1]],
      [{ frequencyPenalty: 0.5 }, [0, -1]],
      [{ presencePenalty: 0.5 }, [0, -0.5]],
    ] as const)
      ratio(options).forEach((value, i) => {
        expect(value).toBeCloseTo(expected[i]!, 5);
      });
  });
});

describe("sampleToken", () => {
  it("draws with the frequencies of the distribution", () => {
    const values = Float32Array.of(0, 1, 2);
    const { probabilities } = samplingProbabilities(values, {}, none);
    const random = createRandom(7);
    const counts = [0, 0, 0];
    for (let i = 0; i < 20_000; i++) counts[sampleToken(values, {}, none, random)]!++;
    counts.forEach((count, id) => {
      expect(Math.abs(count / 20_000 - probabilities[id]!)).toBeLessThan(0.015);
    });
  });

  it("is greedy at temperature 0, repeats by seed, obeys a bias", () => {
    const values = Float32Array.of(0, 5, 5, 1);
    expect(sampleToken(values, { temperature: 0 }, none, createRandom(1))).toBe(1);
    expect(
      sampleToken(values, { temperature: 0, logitBias: { 3: 9 } }, none, createRandom(1)),
    ).toBe(3);
    const draw = (seed: number) => {
      const random = createRandom(seed);
      return Array.from({ length: 50 }, () => sampleToken(values, {}, none, random));
    };
    expect(draw(3)).toEqual(draw(3));
    expect(draw(3)).not.toEqual(draw(4));
  });
});

it.each([
  { temperature: -1 },
  { topP: 0 },
  { topK: 1.5 },
  { minP: 2 },
  { repetitionPenalty: 0 },
  { seed: -1 },
])("refuses %j by name", (bad) =>
  expect(() => checkSamplingParams(bad)).toThrow(Object.keys(bad)[0]!),
);
