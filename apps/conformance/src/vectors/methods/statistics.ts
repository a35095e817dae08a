import type { EvictionPolicy } from "@kvcache/core";
import { createPolicy } from "@kvcache/policies";
import {
  budgetCurveOf,
  compactor,
  cur,
  type FileTensor,
  kvZapSurrogateOf,
  leverage,
  qFiltersOf,
  queryStatisticsOf,
  retentionGatesOf,
} from "@kvcache/scorers";
import { floats, integers, type VectorCase } from "../case.ts";
import { type Method, type MethodTable, type Params, pick, targetOf } from "../method.ts";

/** Methods that score by statistics, sketches or trained weights. */
export const statistics: MethodTable = {
  "expected-attention": {
    policy: (params) =>
      methodOf(params, () =>
        createPolicy("expected-attention", { ...pick(params, expected), keepProtected: false }),
      ),
  },
  "expected-attention-stats": {
    policy: (params, { vector }) =>
      methodOf(params, () => {
        const { layers, queryHeads, headDim } = vector.shape;
        return createPolicy("expected-attention", {
          ...pick(params, expected),
          statistics: queryStatisticsOf({
            shape: [layers, queryHeads, headDim],
            means: given(vector, "queryMean"),
            covariances: given(vector, "queryCovariance"),
          }),
          keepProtected: false,
        });
      }),
  },
  "leverage-score": {
    policy: (params, { vector }) =>
      methodOf(params, () => {
        const policy = createPolicy("leverage-score", pick(params, ["sketch"]));
        const sketch = params.sketch as number;
        return { ...policy, scorer: leverage({ sketch, sketchOf: sketchOf(vector) }) };
      }),
  },
  cur: {
    policy: (params, { vector }) =>
      methodOf(params, () => {
        const own = pick(params, ["sinks", "leverage", "localWindow", "randomProjection"]);
        const policy = createPolicy("cur", { ...own, keepProtected: false });
        if (params.randomProjection !== true) return policy;
        return {
          ...policy,
          scorer: cur({ ...own, projectionOf: slices(vector, "projection", 1) }),
        };
      }),
  },
  "non-causal-attention": {
    policy: (params) =>
      methodOf(params, () =>
        createPolicy("non-causal-attention", pick(params, ["chunk", "padding"])),
      ),
  },
  compactor: {
    policy: (params, { vector }) =>
      methodOf(params, () => {
        const own = pick(params, ["chunk", "padding", "sketch", "blending"]);
        const ends = { sinks: 8, recent: 4, ...pick(params, ["sinks", "recent"]) };
        const policy = createPolicy("compactor", { ...own, ...ends, keepProtected: false });
        return { ...policy, scorer: compactor({ ...own, ends, sketchOf: sketchOf(vector) }) };
      }),
  },
  "cap-kv": {
    policy: (params) =>
      methodOf(params, () =>
        createPolicy("cap-kv", {
          ...pick(params, ["tau", "futurePositions", "sinks", "epsilon"]),
          keepProtected: false,
        }),
      ),
  },
  "q-filters": {
    policy: (params, { vector }) =>
      methodOf(params, () => {
        const { layers, kvHeads, headDim } = vector.shape;
        const filters = qFiltersOf([layers, kvHeads, headDim], given(vector, "filters"));
        return createPolicy("q-filters", { filters });
      }),
  },
  "kv-zap": {
    policy: (params, { vector }) =>
      methodOf(params, () => createPolicy("kv-zap", { surrogate: surrogateOf(vector) })),
  },
  "fast-kv-zip": {
    policy: (params, { vector }) =>
      methodOf(params, () =>
        createPolicy("fast-kv-zip", {
          ...pick(params, ["layerwise", "sinks", "windowRatio", "normEpsilon"]),
          gates: retentionGatesOf(tensorsOf(vector)),
        }),
      ),
  },
  "lu-kv": {
    policy: (params, { vector, policyOf }) => {
      const policy = policyOf(params.scorer);
      if ("skip" in policy) return policy;
      return methodOf(params, () =>
        createPolicy("lu-kv", {
          ...pick(params, ["sinks", "recent"]),
          curve: budgetCurveOf(tensorsOf(vector).get("curve")!),
          policy,
          keepProtected: false,
        }),
      );
    },
  },
  "kv-grad": {
    policy: (params, { vector }) =>
      methodOf(params, () =>
        createPolicy("kv-grad", {
          ...pick(params, ["layerwise", "sinks", "chunk"]),
          gradientNorms: gradientNormsOf(vector),
        }),
      ),
  },
};

const expected = ["futurePositions", "sinks", "covariance", "valueNorm", "epsilon"];

/** A ratio of 1 evicts nothing, and its cases do not give what scores would need. */
function methodOf(params: Params, policy: () => EvictionPolicy): Method {
  const target = targetOf(params);
  return { policy: params.ratio === 1 ? createPolicy("full") : policy(), target };
}

const given = (vector: VectorCase, name: string): Float32Array => floats(vector, name, 0);

/** Parts of a tensor by its first index, or its first two. */
function slices(vector: VectorCase, name: string, rank: 1 | 2) {
  const data = given(vector, name);
  const shape = vector.tensors.get(name)!.shape;
  const parts = shape.slice(0, rank).reduce((product, size) => product * size, 1);
  const size = data.length / parts;
  return (first: number, second = 0) => {
    const index = rank === 1 ? first : first * shape[1]! + second;
    return data.subarray(index * size, (index + 1) * size);
  };
}

const sketchOf = (vector: VectorCase) => slices(vector, "sketch", 2);

/** The case's float tensors as those of a file. */
const tensorsOf = (vector: VectorCase): ReadonlyMap<string, FileTensor> =>
  new Map(
    [...vector.tensors].flatMap(([name, { shape, data }]) =>
      data instanceof Float32Array ? [[name, { shape, data }] as const] : [],
    ),
  );

function surrogateOf(vector: VectorCase) {
  const part = (name: string) =>
    vector.tensors.has(name) ? slices(vector, name, 1) : () => undefined;
  const [weight2, bias2] = [part("surrogateWeight2"), part("surrogateBias2")];
  const [weight1, bias1] = ["surrogateWeight1", "surrogateBias1"].map((name) =>
    slices(vector, name, 1),
  );
  return kvZapSurrogateOf(
    Array.from({ length: vector.shape.layers }, (_, layer) => ({
      weight1: weight1!(layer),
      bias1: bias1!(layer),
      ...(weight2(layer) && { weight2: weight2(layer)!, bias2: bias2(layer)! }),
    })),
    vector.shape.hidden!,
  );
}

/** Rows of all passes stand one after the other: [L, Q]. */
function gradientNormsOf(vector: VectorCase) {
  const norms = slices(vector, "gradientNorm", 1);
  const passes = integers(vector, "repeatIndptr") ?? Int32Array.of(0);
  return (pass: number, layer: number, from: number, count: number) => {
    const start = passes[pass]! + from;
    return norms(layer).slice(start, start + count);
  };
}
