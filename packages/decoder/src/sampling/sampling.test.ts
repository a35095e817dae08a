import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  checkSamplingParams,
  createRandom,
  type SamplingParams,
  sampleToken,
  samplingProbabilities,
  topLogprobs,
} from "./index.ts";

const none = { promptIds: [], generatedIds: [] };
/** Multiples of 1/16, so that ties are common and differences are not lost in rounding. */
const logits = fc
  .array(fc.integer({ min: -320, max: 320 }), { minLength: 1, maxLength: 60 })
  .map((values) => Float32Array.from(values, (value) => value / 16));
const filters = fc.record(
  {
    temperature: fc.double({ min: 0.1, max: 3, noNaN: true }),
    topK: fc.nat(70),
    topP: fc.double({ min: 0.05, max: 1, noNaN: true }),
    minP: fc.double({ min: 0, max: 1, noNaN: true }),
  },
  { requiredKeys: [] },
);

/** The filters one by one over whole arrays in float64, as transformers applies them. */
function reference(values: Float32Array, { temperature = 1, topK = 0, topP = 1, minP = 0 }) {
  let x = Array.from(values, (v) => Math.fround(v / temperature));
  const softmax = (row: number[]) => {
    const max = Math.max(...row);
    const e = row.map((v) => Math.exp(v - max));
    const total = e.reduce((a, b) => a + b, 0);
    return e.map((v) => v / total);
  };
  const drop = (row: number[], keep: (i: number) => boolean) =>
    row.map((v, i) => (keep(i) ? v : Number.NEGATIVE_INFINITY));
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

const ratios = (params: SamplingParams, history = { promptIds: [0], generatedIds: [1, 1] }) => {
  const { probabilities } = samplingProbabilities(Float32Array.of(2, 2, 2), params, history);
  return [probabilities[0]! / probabilities[2]!, probabilities[1]! / probabilities[2]!].map(
    Math.log,
  );
};

describe("samplingProbabilities", () => {
  it("equals the filters applied one by one", () => {
    fc.assert(
      fc.property(logits, filters, (values, params) => {
        const { probabilities, kept } = samplingProbabilities(values, params, none);
        const expected = reference(values, params);
        // A token exactly at the top-p or min-p border may fall on either side of float noise.
        fc.pre(expected.every((p, i) => p > 0 === (kept[i] === 1)));
        expected.forEach((p, i) => {
          expect(Math.abs(p - probabilities[i]!)).toBeLessThan(1e-5);
        });
      }),
    );
  });

  it("sums to 1, keeps the best token, and gives nothing to what was filtered out", () => {
    fc.assert(
      fc.property(logits, filters, (values, params) => {
        const { probabilities, kept } = samplingProbabilities(values, params, none);
        expect(probabilities.reduce((sum, p) => sum + p, 0)).toBeCloseTo(1, 5);
        expect(kept[values.indexOf(Math.max(...values))]).toBe(1);
        expect(probabilities.every((p, i) => p === 0 || kept[i] === 1)).toBe(true);
      }),
    );
  });

  it("keeps every tie with the k-th token", () => {
    const { kept } = samplingProbabilities(Float32Array.of(1, 3, 3, 3, 0), { topK: 2 }, none);
    expect([...kept]).toEqual([0, 1, 1, 1, 0]);
  });

  it("never keeps a banned token", () => {
    const { kept } = samplingProbabilities(Float32Array.of(1, -Infinity, 2), {}, none);
    expect([...kept]).toEqual([1, 0, 1]);
  });

  it.each([
    [{ repetitionPenalty: 2 }, [-1, -1]],
    [{ frequencyPenalty: 0.5 }, [0, -1]],
    [{ presencePenalty: 0.5 }, [0, -0.5]],
    [{ logitBias: { 1: -3 } }, [0, -3]],
    [{ logitBias: { 1: -1 }, repetitionPenalty: 2, frequencyPenalty: 0.25 }, [-1, -2]],
    [{ presencePenalty: 0.5, temperature: 0.5 }, [0, -1]],
  ])("applies %j in its order", (params, expected) => {
    ratios(params).forEach((value, i) => {
      expect(value).toBeCloseTo(expected[i]!, 5);
    });
  });

  it("multiplies negative logits by the repetition penalty", () => {
    const history = { promptIds: [0, 0], generatedIds: [] };
    const params = { repetitionPenalty: 3 };
    const { probabilities } = samplingProbabilities(Float32Array.of(-1, -1), params, history);
    expect(Math.log(probabilities[0]! / probabilities[1]!)).toBeCloseTo(-2, 5);
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

  it("draws only tokens that were kept, whatever the random number", () => {
    const edge = fc.constantFrom(0, 1 - 2 ** -53);
    const number = fc.oneof(edge, fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }));
    fc.assert(
      fc.property(logits, filters, number, (values, params, value) => {
        const id = sampleToken(values, params, none, () => value);
        expect(samplingProbabilities(values, params, none).kept[id]).toBe(1);
      }),
    );
  });

  it("takes the likeliest at temperature 0, the lowest id among equals, after the bias", () => {
    const values = Float32Array.of(0, 5, 5, 1);
    const random = createRandom(1);
    expect(sampleToken(values, { temperature: 0 }, none, random)).toBe(1);
    expect(sampleToken(values, { temperature: 0, logitBias: { 3: 9 } }, none, random)).toBe(3);
    expect([...values]).toEqual([0, 5, 5, 1]);
  });

  it.each([
    [[1, Number.NaN], "NaN"],
    [[1, Number.POSITIVE_INFINITY], "Infinity"],
    [[-Infinity, -Infinity], "-Infinity"],
  ])("refuses logits %j", (values, word) => {
    for (const temperature of [0, 1, 0.5]) {
      const draw = () => sampleToken(Float32Array.from(values), { temperature }, none, () => 0);
      expect(draw).toThrow(word);
    }
  });

  it("names a token id that the vocabulary does not have", () => {
    const draw = () => sampleToken(Float32Array.of(1, 2), { logitBias: { 5: 1 } }, none, () => 0);
    expect(draw).toThrow("Token id 5");
  });
});

describe("createRandom", () => {
  it("repeats by seed, differs between seeds, also beyond 32 bits", () => {
    const draw = (seed: number) => Array.from({ length: 20 }, createRandom(seed));
    expect(draw(3)).toEqual(draw(3));
    const first = [3, 4, 3 + 2 ** 32, 3 + 2 ** 40].map((seed) => draw(seed)[0]);
    expect(new Set(first).size).toBe(4);
  });

  it("is uniform over [0, 1)", () => {
    const random = createRandom(11);
    const bins = new Uint32Array(20);
    for (let i = 0; i < 40_000; i++) bins[Math.floor(random() * 20)]!++;
    // Chi-squared with 19 degrees of freedom: above 50 with probability 1e-4.
    expect(bins.reduce((sum, count) => sum + (count - 2000) ** 2 / 2000, 0)).toBeLessThan(50);
  });
});

it("reports log-probabilities of the raw logits", () => {
  fc.assert(
    fc.property(logits, fc.nat(8), fc.nat(59), (values, k, at) => {
      const id = at % values.length;
      const total = values.reduce((sum, v) => sum + Math.exp(v), 0);
      const expected = Array.from(values, (v, tokenId) => ({
        tokenId,
        logprob: v - Math.log(total),
      }));
      const result = topLogprobs(values, id, k);
      expect(result.logprob).toBeCloseTo(expected[id]!.logprob, 4);
      const order = [...values.keys()].sort((a, b) => values[b]! - values[a]! || a - b);
      expect(result.topLogprobs.map((t) => t.tokenId)).toEqual(order.slice(0, k));
    }),
  );
});

it.each([
  { temperature: -1 },
  { temperature: Number.NaN },
  { topP: 0 },
  { topK: 1.5 },
  { minP: 2 },
  { repetitionPenalty: 0 },
  { frequencyPenalty: Number.POSITIVE_INFINITY },
  { seed: -1 },
  { logitBias: { [-3]: 1 } },
  { logitBias: { 1: Number.NaN } },
])("refuses %j by name", (bad) => {
  expect(() => checkSamplingParams(bad)).toThrow(Object.keys(bad)[0]!);
});
