import { headKV } from "@kvcache/budget-head-kv";
import { type HeadProfile, headProfile, type Protect } from "@kvcache/core";
import {
  createHostEncoder,
  duoHeadScores,
  lazyLayers,
  streamingHeads,
  windowScore,
} from "@kvcache/kernels";
import { createPolicy } from "@kvcache/policies";
import { floats, type VectorCase, type Verdict } from "../case.ts";
import { compareFloats } from "../compare.ts";
import { type MethodTable, type Params, pick, targetOf } from "../method.ts";
import type { KeepRun } from "../run-keep.ts";
import { vectorRun } from "../vector-batch.ts";

/** Methods that treat whole heads or layers apart, most of them by a profile of the model. */
export const headProfiles: MethodTable = {
  "duo-attention": {
    policy: (params, { vector }) => ({
      policy: createPolicy("duo-attention", {
        streamingHeads: 0.5,
        ...pick(params, ["streamingHeads", "rule"]),
        ...((params.protect as Protect | undefined) ?? pick(params, ["sinks", "recent"])),
        profile: profileOf(vector, "duo-attention", "headScores", "headScores"),
      }),
      target: { ratio: 1 },
    }),
    outputs: { streaming },
    run: { scores: duoScores },
  },
  "head-kv": {
    policy: (params, { vector }) => ({
      policy: createPolicy("head-kv", {
        ...pick(params, ["window", "pooling", "groupReduce", "beta", "temperature"]),
        profile: profileOf(vector, "head-kv", "headScores", "profile"),
      }),
      target: targetOf(params),
    }),
    budget: (params, vector) => ({
      budget: headKV({
        ...pick(params, ["beta", "temperature"]),
        profile: profileOf(vector, "head-kv", "headScores", "profile"),
      }),
      target: targetOf(params),
      protect: { sinks: 0, recent: (params.window as number | undefined) ?? 8 },
    }),
  },
  "sim-layer-kv": {
    policy: (params) => ({
      policy: createPolicy("sim-layer-kv", simLayerOptions(params)),
      target: { ratio: 1 },
    }),
    outputs: {
      lazyScores: async (run) => (await lazyMetric(run)).scores,
      lazy: async (run) => (await lazyMetric(run)).lazy,
    },
  },
};

const simLayerOptions = (params: Params) => pick(params, ["threshold", "sinks", "recent", "last"]);

/** The profile that a case gives, under the name that the method's profiles have for it. */
function profileOf(vector: VectorCase, kind: string, name: string, tensor: string): HeadProfile {
  const given = vector.tensors.get(tensor);
  const { layers, queryHeads, kvHeads } = vector.shape;
  return headProfile({
    kind,
    model: { name: vector.id, fingerprint: null },
    shape: { numLayers: layers, numQueryHeads: queryHeads, numKvHeads: kvHeads },
    settings: {},
    arrays: given ? { [name]: { shape: given.shape, values: Array.from(given.data) } } : {},
  });
}

/** Which heads the budget cuts down. */
function streaming({ vector }: KeepRun): ArrayLike<number> {
  const { streamingHeads: fraction = 0.5, rule = "lowest" } = vector.params;
  const headScores = Float64Array.from(vector.tensors.get("headScores")!.data);
  return streamingHeads(headScores, fraction as number, rule as "lowest");
}

/** Head scores on the fly, from mean queries and keys of samples: [L, H]. */
async function duoScores(vector: VectorCase): Promise<Verdict> {
  const { layers, queryHeads, kvHeads, headDim, ropeTheta = 10_000 } = vector.shape;
  const positions = vector.params.positions as number;
  const meanQueries = floats(vector, "meanQueries", 0);
  const meanKeys = floats(vector, "meanKeys", 0);
  const layerOf = (all: Float32Array, layer: number) =>
    all.subarray((layer * all.length) / layers, ((layer + 1) * all.length) / layers);
  const scores = Array.from({ length: layers }, (_, layer) => [
    ...duoHeadScores({
      shape: { numQueryHeads: queryHeads, numKvHeads: kvHeads, headDim },
      rope: {
        theta: ropeTheta,
        dim: headDim,
        maxPositions: positions,
        scaling: { type: "default" },
      },
      positions,
      meanQueries: layerOf(meanQueries, layer),
      meanKeys: layerOf(meanKeys, layer),
    }),
  ]);
  return compareFloats(vector, "headScores", scores.flat());
}

/** What the budget of SimLayerKV decides by, per layer; measured again before anything is evicted. */
async function lazyMetric({ vector }: KeepRun) {
  const options = {
    threshold: 1,
    sinks: 4,
    recent: 1024,
    last: 1,
    ...simLayerOptions(vector.params),
  };
  const policy = createPolicy("sim-layer-kv", options);
  const run = vectorRun(vector, policy);
  const encoder = createHostEncoder();
  const batch = await run.batch({ protect: policy.protect, phase: "prefill" });
  const attention = encoder.tensor("f32", batch.totalSlots);
  const lazyScores = encoder.tensor("f32", batch.layers.length);
  const counts = encoder.tensor("u32", batch.numRows);
  encoder.run(windowScore, {
    batch,
    out: attention,
    window: options.last,
    rowReduce: "mean",
    groupReduce: "mean",
    excludeWindow: true,
  });
  encoder.run(lazyLayers, { ...options, batch, attention, lazyScores, counts });
  const scores = await encoder.read(lazyScores);
  const kept = await encoder.read(counts);
  run.cache.dispose();
  return {
    scores,
    lazy: Array.from(scores, (_, layer) =>
      Number(kept[layer * batch.shape.numKvHeads]! < vector.shape.tokens),
    ),
  };
}
