import type { BudgetAllocator, KvShape, Observation } from "@kvcache/core";
import { cacheLayout } from "@kvcache/core";
import { testBudget, tokenCache } from "@kvcache/testing";
import { expect, it } from "vitest";
import {
  type BaklavaOptions,
  baklava,
  baklavaProfile,
  combineImportance,
  type FoundSettings,
  importanceOf,
  importanceProfiler,
  mergeImportance,
  noImportance,
  type ShareSettings,
  searchShares,
  settingsFor,
  shareGrid,
} from "./index.ts";

const model = { name: "test", fingerprint: "abc" };
const profileFor = (shape: KvShape, found: readonly FoundSettings[] = []) =>
  baklavaProfile({
    model,
    shape,
    found,
    importance: {
      heads: Array.from(
        { length: shape.numLayers * shape.numKvHeads },
        (_, i) => ((i * 7) % 5) / 5,
      ),
      layers: Array.from({ length: shape.numLayers }, (_, i) => ((i * 3) % 4) / 8),
    },
  });

/** The rule with a profile for whatever shape it meets. */
const anyShape = (options: BaklavaOptions = {}): BudgetAllocator => ({
  name: "baklava",
  needs: [],
  resolve: (request) =>
    baklava({ ...options, profile: profileFor(request.layout.shape) }).resolve(request),
  allocate: (encoder, context, counts) =>
    baklava({ ...options, profile: profileFor(context.batch.shape) }).allocate(
      encoder,
      context,
      counts,
    ),
});
const tiers = {
  kind: "tiers",
  lowFraction: 0.3,
  highFraction: 0.3,
  lowFactor: 0.4,
  highFactor: 1.7,
} as const;

testBudget("baklava", () => anyShape(), { exact: true });
testBudget("baklava, tiers", () => anyShape({ family: tiers, minTokens: 3 }), { exact: true });

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 2 };
const layout = cacheLayout(shape);

/** Feeds a profiler one pass over six tokens whose head outputs are `factor` × the values, turned. */
async function profiled(turn: number, compare: "value" | "residual" | "slice" = "value") {
  const made = tokenCache({ shape, seed: 2, sequences: 1, maxTokens: 9, windowSize: 1 });
  made.feed(0, 6, { flags: 0 });
  const profiler = importanceProfiler(shape, { compare });
  const byToken = (width: number, make: (i: number, c: number) => number) =>
    Float32Array.from({ length: 6 * width }, (_, at) => make(Math.floor(at / width), at % width));
  const residual = () => byToken(8, (i, c) => Math.cos(3 * i + c) + 0.1);
  const observation: Observation = {
    start: 0,
    tokenIds: new Int32Array(6),
    queries: () => new Float32Array(0),
    queriesPreRope: () => new Float32Array(0),
    hidden: () => new Float32Array(0),
    headOutputs: (layer) =>
      byToken(8, (i, at) => {
        const kvHead = at >> 2;
        const { value } = made.tokens(0, layer, i);
        const [x, y] = [value[2 * kvHead]!, value[2 * kvHead + 1]!];
        const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
        return at % 2 === 0 ? 3 * (cos * x - sin * y) : 3 * (sin * x + cos * y);
      }),
    residual,
    attentionOutput: () => residual().map((value) => value * -3),
  };
  const observer = profiler.scorer.createObserver!(layout);
  observer.observe!(undefined as never, observation, made.batch("prefill"));
  return profiler;
}

it("finds a head that passes values on, turns them by a right angle, or around", async () => {
  for (const [turn, wanted] of [
    [0, 0],
    [Math.PI / 2, 1],
    [Math.PI, 2],
  ] as const) {
    const importance = importanceOf((await profiled(turn)).sums(), 2);
    for (const head of importance.heads) expect(head).toBeCloseTo(wanted, 6);
    for (const layer of importance.layers) expect(layer).toBeCloseTo(2, 6);
  }
});

it("skips the first token for heads only, and measures in other ways on request", async () => {
  const { heads, layers } = (await profiled(0)).sums();
  expect(heads.count).toEqual(new Array(8).fill(5));
  expect(layers.count).toEqual([6, 6]);
  const slices = importanceOf((await profiled(1, "slice")).sums(), 2);
  expect(slices.heads.every((head) => head > 0 && head < 2)).toBe(true);
});

it("merges runs in any order, and takes them up again", async () => {
  const runs = [await profiled(0), await profiled(1), await profiled(2)].map((p) => p.sums());
  const forwards = runs.reduce(mergeImportance, noImportance(2, 4));
  const backwards = [...runs].reverse().reduce(mergeImportance, noImportance(2, 4));
  forwards.heads.sum.forEach((sum, i) => {
    expect(Math.abs(sum - backwards.heads.sum[i]!)).toBeLessThan(1e-12);
  });
  const profiler = await profiled(0);
  profiler.add(JSON.parse(JSON.stringify(runs[1])));
  expect(profiler.sums().heads.count[0]).toBe(10);
  expect(() => profiler.add(noImportance(3, 4))).toThrow("another shape");
});

it("reduces a group of query heads, and weighs heads against layers", () => {
  const sums = {
    ...noImportance(1, 4),
    heads: { sum: [1, 0, 0.5, 0.5], squares: [0, 0, 0, 0], count: [1, 1, 1, 1] },
    layers: { sum: [0.5], squares: [0], count: [1] },
  };
  expect(importanceOf(sums, 2).heads).toEqual([0.5, 0.5]);
  expect(importanceOf(sums, 2, "max").heads).toEqual([1, 0.5]);
  expect(importanceOf(sums, 2, "min").heads).toEqual([0, 0.5]);
  const importance = { heads: [1, 3, 2, 2], layers: [3, 1] };
  expect(combineImportance(importance, 1)).toEqual([0.5, 1.5, 1, 1]);
  expect(combineImportance(importance, 0)).toEqual([1.5, 1.5, 0.5, 0.5]);
});

it("uses what was found for the nearest ratio", () => {
  const found = (ratio: number, gamma: number): FoundSettings => ({
    ratio,
    gamma,
    family: tiers,
    nll: 1,
    nllUniform: 1,
  });
  const profile = profileFor(shape, [found(0.5, 0), found(0.1, 1)]);
  expect([0.9, 0.3, 0.2, 0.05].map((ratio) => settingsFor(profile, ratio).gamma)).toEqual([
    0, 0, 1, 1,
  ]);
  expect(settingsFor(profileFor(shape), 0.3).gamma).toBe(0.5);
});

it("searches the grid, never worse than an even split, and goes on where it stopped", async () => {
  const loss = ({ gamma, family }: ShareSettings) =>
    family.kind === "power" ? (gamma - 1) ** 2 + (family.exponent - 0.5) ** 2 : 9;
  const asked: (readonly [ShareSettings, number])[] = [];
  const options = {
    ratio: 0.3,
    evaluate: async (settings: ShareSettings) => loss(settings),
    onEvaluation: (settings: ShareSettings, nll: number) => void asked.push([settings, nll]),
  };
  const found = await searchShares(options);
  expect(found).toEqual({
    ratio: 0.3,
    gamma: 1,
    family: { kind: "power", exponent: 0.5 },
    nll: 0,
    nllUniform: 0.25,
  });
  const before = asked.length;
  expect(await searchShares({ ...options, known: [...asked] })).toEqual(found);
  expect(asked.length).toBe(before);
  const even = await searchShares({
    ...options,
    evaluate: async ({ family }) => (family.kind === "power" ? family.exponent : 1),
    maxEvaluations: 3,
  });
  expect(even.family).toEqual({ kind: "power", exponent: 0 });
});

it("finds the grid's best from results that are all known", async () => {
  const grid = shareGrid();
  expect(new Set(grid.map((settings) => JSON.stringify(settings))).size).toBe(grid.length);
  const loss = ({ gamma, family }: ShareSettings) =>
    (gamma - 0.5) ** 2 + (family.kind === "power" ? (family.exponent - 0.25) ** 2 : 9);
  const known = grid.map((settings) => [settings, loss(settings)] as const);
  const evaluate = async () => {
    throw new Error("asked for what is known");
  };
  const found = await searchShares({ ratio: 0.2, known, evaluate });
  expect(found).toMatchObject({ gamma: 0.5, family: { kind: "power", exponent: 0.25 }, nll: 0 });
  expect(shareGrid("tiers").length).toBe(1 + 3 * 5 * 5 * 3 * 3);
});

it("refuses plans without a profile, or with that of another model", () => {
  expect(() => baklava().checkShape!(shape)).toThrow("baklava needs a profile");
  const budget = baklava({ profile: profileFor(shape) });
  expect(() => budget.checkShape!({ ...shape, numLayers: 3 })).toThrow("numLayers is 2, here 3");
  expect(() => budget.checkShape!(shape, "other")).toThrow("made for another model");
  expect(() => baklava({ profile: profileFor(shape), gamma: 2 })).toThrow("gamma");
  expect(() =>
    baklavaProfile({ model, shape, importance: { heads: [1, 1, 1, -1], layers: [1, 1] } }),
  ).toThrow("cannot be negative");
});
