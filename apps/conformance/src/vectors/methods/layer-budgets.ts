import { cake as cakeBudget } from "@kvcache/budget-cake";
import { lmba, zigzag } from "@kvcache/budget-zigzag";
import {
  type BudgetContext,
  defineKernel,
  type Encoder,
  hostArray,
  type Tensor,
} from "@kvcache/core";
import {
  attentionSpread,
  entropyShares,
  groupBudgets,
  minimumBudget,
  preference,
  queryHeadBudget,
  scoreEntropy,
  tokensForMass,
  windowScore,
  windowSums,
} from "@kvcache/kernels";
import { createPolicy } from "@kvcache/policies";
import { floats, type VectorCase } from "../case.ts";
import { compareFloats, compareIntegers, first } from "../compare.ts";
import { type Method, type MethodAdapter, type Params, pick, targetOf } from "../method.ts";
import type { KeepRun } from "../run-keep.ts";
import { onScoredEvent } from "../scored-event.ts";

const named =
  (name: string, options: readonly string[]) =>
  (params: Params): Method => ({
    policy: createPolicy(name, pick(params, options)),
    target: targetOf(params),
  });

/** A layer measure that a case gives, in place of one that looks at a cache. */
const given = (vector: VectorCase, name: string) => ({
  needs: [],
  record: (encoder: Encoder, _: BudgetContext, out: Tensor) =>
    encoder.run(
      defineKernel<undefined>({
        name: `given:${name}`,
        reference: () => hostArray(out, "f32").set(floats(vector, name, out.length)),
      }),
      undefined,
    ),
});

/** Cases of kind budget give no scores: those of the window are protected, the others 0. */
function withProtected(vector: VectorCase): VectorCase {
  if (vector.kind !== "budget") return vector;
  const { layers, kvHeads, tokens } = vector.shape;
  const window = Math.min(tokens, (vector.params.window as number | undefined) ?? 0);
  const data = new Float32Array(layers * kvHeads * tokens);
  for (let row = 1; row <= layers * kvHeads; row++)
    data.fill(Number.POSITIVE_INFINITY, row * tokens - window, row * tokens);
  const scores = { shape: [layers, kvHeads, tokens], data };
  return { ...vector, tensors: new Map([...vector.tensors, ["scores", scores]]) };
}

const windowOf = (params: Params) => (params.window as number | undefined) ?? 32;
const protectOf = (params: Params) => ({ sinks: 0, recent: windowOf(params) });

const cakePolicy = named("cake", ["window", "tau1", "tau2", "gamma", "pooling", "groupReduce"]);

export const cake: MethodAdapter = {
  policy: cakePolicy,
  budget: (params, vector) => ({
    budget: cakeBudget({ window: windowOf(params), measure: given(vector, "preference") }),
    target: targetOf(params),
    protect: protectOf(params),
  }),
  prepare: withProtected,
  run: {
    async metric(vector, backend) {
      const { params } = vector;
      const { tau1 = 1, tau2 = 1 } = params as { tau1?: number; tau2?: number };
      const made = cakePolicy(params);
      if ("skip" in made) return { status: "skipped", reason: made.skip };
      return onScoredEvent(vector, backend, made.policy, async ({ encoder, batch }) => {
        const [dispersion, shift, out] = [0, 1, 2].map(() =>
          encoder.tensor("f32", batch.layers.length),
        ) as [Tensor, Tensor, Tensor];
        encoder.run(attentionSpread, { batch, window: windowOf(params), dispersion, shift });
        encoder.run(preference, { dispersion, shift, tau1, tau2, out });
        return [
          compareFloats(vector, "dispersion", await encoder.read(dispersion)),
          compareFloats(vector, "shift", await encoder.read(shift)),
          compareFloats(vector, "preference", await encoder.read(out)),
        ];
      });
    },
  },
};

const lavaPolicy = named("lava", ["window", "pooling", "groupReduce", "floor", "rounding"]);

export const lava: MethodAdapter = {
  policy: lavaPolicy,
  run: {
    async metric(vector, backend) {
      const made = lavaPolicy(vector.params);
      if ("skip" in made) return { status: "skipped", reason: made.skip };
      const { layers, kvHeads, tokens } = vector.shape;
      const window = windowOf(vector.params);
      return onScoredEvent(vector, backend, made.policy, async ({ encoder, scores }) => {
        const values = await encoder.read(scores);
        const weights = Array.from({ length: layers }, (_, layer) =>
          scoreEntropy(
            Array.from({ length: kvHeads }, (_, head) => {
              const at = (layer * kvHeads + head) * tokens;
              return Float64Array.from(values.subarray(at, at + tokens - window));
            }),
          ),
        );
        const budget = (vector.params.tokens as number) - window;
        const limits = weights.map(() => tokens - window);
        return [
          compareFloats(vector, "layerWeight", weights),
          compareIntegers(
            vector,
            "layerTokens",
            entropyShares(weights, budget, "reference", limits),
          ),
        ];
      });
    },
  },
};

const zigzagPolicy = named("zigzag-kv", [
  "window",
  "pooling",
  "groupReduce",
  "tau",
  "minTokens",
  "excludeWindow",
  "granularity",
]);

export const zigzagKV: MethodAdapter = {
  policy: zigzagPolicy,
  budget: (params, vector) => ({
    budget: zigzag({
      measure: given(vector, "lmba"),
      minTokens: (params.minTokens ?? null) as number | null,
    }),
    target: targetOf(params),
    protect: { sinks: 0, recent: (params.window as number | undefined) ?? 0 },
  }),
  prepare: withProtected,
  run: { metric: zigzagMetric },
};

async function zigzagMetric(vector: VectorCase, backend: Parameters<typeof onScoredEvent>[1]) {
  const { params, shape } = vector;
  const {
    tau = 0.9,
    excludeWindow = true,
    granularity,
  } = params as {
    tau?: number;
    excludeWindow?: boolean;
    granularity?: string;
  };
  const importance = vector.tensors.get("importance");
  if (importance) {
    const rows = shape.layers * shape.kvHeads;
    const budgets = Array.from({ length: rows }, (_, row) =>
      tokensForMass(importance.data.subarray(row * shape.tokens, (row + 1) * shape.tokens), tau),
    );
    const means = Array.from({ length: shape.layers }, (_, layer) => {
      const own = budgets.slice(layer * shape.kvHeads, (layer + 1) * shape.kvHeads);
      return own.reduce((sum, value) => sum + value, 0) / own.length;
    });
    return first(compareIntegers(vector, "mba", budgets), compareFloats(vector, "lmba", means));
  }
  const made = zigzagPolicy(params);
  if ("skip" in made) return { status: "skipped", reason: made.skip } as const;
  const window = windowOf(params);
  return onScoredEvent(vector, backend, made.policy, async ({ encoder, batch, scores }) => {
    const perQueryHead = granularity === "queryHead";
    const heads = perQueryHead ? shape.queryHeads : shape.kvHeads;
    const out = encoder.tensor("f32", shape.layers * heads);
    if (perQueryHead) {
      const group = shape.queryHeads / shape.kvHeads;
      const sums = encoder.tensor("f32", batch.totalSlots * group);
      encoder.run(windowSums, { batch, window, out: sums });
      const exclude = excludeWindow ? window : 0;
      encoder.run(queryHeadBudget, { batch, sums, mass: tau, exclude, out });
    } else {
      const attention = encoder.tensor("f32", batch.totalSlots);
      const reduce = { rowReduce: "mean", groupReduce: "mean" } as const;
      encoder.run(windowScore, { batch, out: attention, window, excludeWindow, ...reduce });
      encoder.run(minimumBudget, { batch, importance: attention, mass: tau, out });
    }
    const means = encoder.tensor("f32", shape.layers);
    const measure = lmba({
      window,
      tau,
      excludeWindow,
      granularity: perQueryHead ? "queryHead" : "kvHead",
    });
    measure.record(encoder, { batch, target: { ratio: 1 }, scores }, means);
    return [
      compareIntegers(vector, "mba", await encoder.read(out)),
      compareFloats(vector, "lmba", await encoder.read(means)),
    ];
  });
}

const windowKVDefaults = { suffix: 32, windowSize: 8, groupSize: 8, beta: 14 };
const settingsOf = (params: Params) =>
  ({ ...windowKVDefaults, ...params }) as typeof windowKVDefaults & { tokens: number };

/** Review tokens of every layer. */
function layerBudgets({ params, shape }: VectorCase): number[] {
  const { tokens, groupSize, beta } = settingsOf(params);
  const groups = groupBudgets(tokens, shape.layers / groupSize, groupSize, beta);
  return groups.flatMap((budget) => new Array<number>(groupSize).fill(budget));
}

export const windowKV: MethodAdapter = {
  policy: (params) => ({
    policy: createPolicy("window-kv", {
      groupSize: windowKVDefaults.groupSize,
      ...pick(params, ["task", "suffix", "windowSize", "topTokens", "groupSize", "beta"]),
    }),
    target: targetOf(params),
  }),
  exact: true,
  outputs: {
    layerBudgets: ({ vector }) => layerBudgets(vector),
    windowScores: windowScoresOf,
  },
  run: {
    budget: async (vector) =>
      compareIntegers(
        vector,
        "counts",
        layerBudgets(vector).flatMap((budget) => new Array(vector.shape.kvHeads).fill(budget)),
      ),
  },
};

/** What the scores of each group's first layer say at the first token of every window. */
function windowScoresOf({ vector, scores }: KeepRun): number[] {
  const { layers, kvHeads, tokens } = vector.shape;
  const { groupSize, windowSize } = settingsOf(vector.params);
  const suffix = (vector.params.suffix as number | undefined) ?? 32;
  const windows = Math.ceil((tokens - suffix) / windowSize);
  return Array.from({ length: layers / groupSize }, (_, group) =>
    Array.from(
      { length: windows },
      (_, window) => scores[group * groupSize * kvHeads * tokens + window * windowSize]!,
    ),
  ).flat();
}
