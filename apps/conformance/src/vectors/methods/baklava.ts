import {
  type BaklavaOptions,
  baklava as baklavaBudget,
  baklavaProfile,
  importanceOf,
  importanceProfiler,
} from "@kvcache/budget-baklava";
import { createPolicy } from "@kvcache/policies";
import { floats } from "../case.ts";
import { compareFloats } from "../compare.ts";
import { type MethodAdapter, type Params, targetOf } from "../method.ts";
import { onScoredEvent } from "../scored-event.ts";
import { shapeOf } from "../vector-cache.ts";

type Family = NonNullable<BaklavaOptions["family"]>;

const familyOf = (params: Params): Family =>
  params.family === "tiers"
    ? { kind: "tiers", ...(params as Omit<Family & { kind: "tiers" }, "kind">) }
    : { kind: "power", exponent: (params.exponent ?? 1) as number };

export const baklava: MethodAdapter = {
  budget: (params, vector) => {
    const { layers, kvHeads } = vector.shape;
    return {
      budget: baklavaBudget({
        profile: baklavaProfile({
          model: { name: vector.id, fingerprint: null },
          shape: shapeOf(vector),
          importance: {
            heads: [...floats(vector, "headImportance", layers * kvHeads)],
            layers: [...floats(vector, "layerImportance", layers)],
          },
        }),
        gamma: (params.gamma ?? 0.5) as number,
        family: familyOf(params),
        minTokens: (params.minTokens ?? 36) as number,
      }),
      target: targetOf(params),
      protect: { sinks: 0, recent: 0 },
    };
  },
  run: {
    metric(vector, backend) {
      const { compare, skipFirst, groupReduce } = vector.params as {
        compare?: "value";
        skipFirst?: number;
        groupReduce?: "mean";
      };
      const profiler = importanceProfiler(shapeOf(vector), {
        ...(compare && { compare }),
        ...(skipFirst !== undefined && { skipFirst }),
      });
      const policy = { ...createPolicy("streaming-llm"), scorer: profiler.scorer };
      return onScoredEvent(vector, backend, policy, async () => {
        const { heads, layers } = importanceOf(profiler.sums(), vector.shape.kvHeads, groupReduce);
        return [
          compareFloats(vector, "headImportance", heads),
          compareFloats(vector, "layerImportance", layers),
        ];
      });
    },
  },
};
