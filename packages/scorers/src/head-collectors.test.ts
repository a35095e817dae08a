import { distanceMass, needleAttention } from "@kvcache/kernels";
import { testScorer, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import { duoCollector, heatCollector, queryCollector, retrievalCollector } from "./index.ts";

testScorer("duoCollector", (shape) => duoCollector(shape).scorer, { forgets: false });
testScorer("retrievalCollector", (shape) => retrievalCollector(shape).scorer, { forgets: false });

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 8 };
const model = { name: "random", fingerprint: null };
const observed = (scorer: ReturnType<typeof duoCollector>["scorer"], sequences = 1) =>
  tokenCache({ shape, seed: 4, sequences, maxTokens: 40, windowSize: 0, scorer });

it("measures heat over chunks as over single tokens", () => {
  const profiles = [20, 1].map((chunk) => {
    const collector = heatCollector(shape, { edges: [2, 8], groupReduce: "mean" });
    const made = observed(collector.scorer);
    for (let fed = 0; fed < 20; fed += chunk) made.feed(0, chunk, { flags: 0 });
    return collector.profile(model);
  });
  const [whole, single] = profiles.map(({ arrays }) => arrays.mass!.values);
  whole!.forEach((mass, i) => {
    expect(mass).toBeCloseTo(single![i]!, 6);
  });
  // The nearest stretch is all that the first query has, and no head's mean is above one.
  expect(profiles[0]!.settings).toEqual({ edges: [2, 8], groupReduce: "mean", queries: 20 });
  expect(Math.max(...whole!)).toBeLessThanOrEqual(1);
});

it("takes the larger part of a group's attention unless told otherwise", () => {
  const collector = heatCollector(shape, { edges: [3] });
  const made = observed(collector.scorer);
  made.feed(0, 12, { flags: 0 });
  const mass = new Float64Array(2 * 4 * 2);
  const seen = new Float64Array(2);
  distanceMass.reference({
    batch: made.batch("prefill"),
    queries: (layer) =>
      Float32Array.from(
        Array.from({ length: 12 }, (_, i) => [...made.tokens(0, layer, i).query]).flat(),
      ),
    start: 0,
    count: 12,
    edges: [3],
    mass,
    seen,
  });
  const { values } = collector.profile(model).arrays.mass!;
  values.forEach((value, i) => {
    const [head, stretch] = [Math.floor(i / 2), i % 2];
    const members = [2 * head, 2 * head + 1].map((q) => mass[q * 2 + stretch]! / seen[stretch]!);
    expect(value).toBeCloseTo(Math.max(...members), 6);
  });
});

it("scores heads from one mean query and key a text", async () => {
  const collector = duoCollector(shape, { positions: 30 });
  const made = observed(collector.scorer, 2);
  for (const sequence of made.sequences) {
    made.feed(sequence, 9, { flags: 0 });
    made.feed(sequence, 5 + sequence, { flags: 0 });
  }
  const profile = collector.profile(model);
  expect(profile.settings).toEqual({ onTheFly: true, positions: 30, samples: 2 });
  expect(profile.arrays.headScores!.shape).toEqual([2, 2]);
  for (const score of profile.arrays.headScores!.values) {
    expect(score).toBeGreaterThan(0);
    expect(score).toBeLessThanOrEqual(1);
  }
  // The same from one observed text at a time, averaged.
  const single = made.sequences.map((sequence) => {
    const own = duoCollector(shape, { positions: 30 });
    const again = observed(own.scorer, 2);
    again.feed(sequence, 14 + sequence, { flags: 0 });
    return own.profile(model).arrays.headScores!.values;
  });
  profile.arrays.headScores!.values.forEach((score, head) => {
    expect(score).toBeCloseTo((single[0]![head]! + single[1]![head]!) / 2, 5);
  });
  expect(() => duoCollector(shape).profile(model)).toThrow("No text was observed");
});

it("counts samples that were answered right, from the prompt's end on", () => {
  const collector = retrievalCollector(shape);
  const made = observed(collector.scorer);
  const sample = { needle: { from: 3, to: 6 }, promptLength: 12 };
  collector.begin(sample);
  made.feed(0, 12, { flags: 0 });
  made.feed(0, 1, { flags: 0 });
  const scores = new Float64Array(8);
  needleAttention.reference({
    batch: made.batch("prefill"),
    queries: (layer) => made.tokens(0, layer, 12).query,
    start: 12,
    count: 1,
    needle: sample.needle,
    scores,
  });
  collector.end(true);
  collector.begin(sample);
  made.feed(0, 3, { flags: 0 });
  collector.end(false);
  const profile = collector.profile(model);
  expect(profile.settings).toEqual({ samples: 1 });
  profile.arrays.headScores!.values.forEach((score, head) => {
    expect(score).toBeCloseTo(scores[head]!, 6);
  });
  expect(() => retrievalCollector(shape).profile(model)).toThrow("No sample was answered right");
  expect(() => collector.begin({ ...sample, needle: { from: 6, to: 6 } })).toThrow("No needle");
});

it("goes on from a stored state as if it had not stopped", () => {
  const collectors = [
    () => heatCollector(shape, { edges: [2, 8] }),
    () => duoCollector(shape),
    () => queryCollector(shape, { rotated: false }),
  ];
  for (const make of collectors) {
    const [whole, first, second] = [make(), make(), make()];
    const feed = ({ scorer }: typeof whole, sequence: number) =>
      observed(scorer, 2).feed(sequence, 12, { flags: 0 });
    feed(whole, 0);
    feed(whole, 1);
    feed(first, 0);
    second.restore(first.state());
    feed(second, 1);
    expect(second.state()).toEqual(whole.state());
  }
  const other = heatCollector({ ...shape, numLayers: 3 });
  expect(() => other.restore(heatCollector(shape).state())).toThrow("another model");
});

it("looks at the last queries of a pass only, where told to", () => {
  const [some, all] = [4, null].map((queriesPerPass) => {
    const collector = heatCollector(shape, { edges: [3], queriesPerPass });
    const made = observed(collector.scorer);
    // The same four queries: at the end of a pass, or alone in one.
    if (queriesPerPass) made.feed(0, 12, { flags: 0 });
    else {
      const before = heatCollector(shape, { edges: [3] });
      const twin = observed(before.scorer);
      twin.feed(0, 8, { flags: 0 });
      twin.feed(0, 4, { flags: 0 });
      const rest = heatCollector(shape, { edges: [3] });
      observed(rest.scorer).feed(0, 8, { flags: 0 });
      const [both, early] = [before.state().mass!, rest.state().mass!];
      return both.map((mass, i) => mass - early[i]!);
    }
    return collector.state().mass!;
  });
  some!.forEach((mass, i) => {
    expect(mass).toBeCloseTo(all![i]!, 8);
  });
});
