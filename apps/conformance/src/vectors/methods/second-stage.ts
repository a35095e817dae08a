import { criticalScore, recordProjectedNorms } from "@kvcache/kernels";
import { createPolicy } from "@kvcache/policies";
import {
  type Method,
  type MethodContext,
  type MethodTable,
  type Params,
  pick,
  targetOf,
} from "../method.ts";
import type { KeepEvent } from "../run-keep.ts";
import { baklava } from "./baklava.ts";
import { dbudgetKV } from "./dbudget-kv.ts";
import { cake, lava, windowKV, zigzagKV } from "./layer-budgets.ts";

/** Methods that refine budgets or scores of others, and layer budgets. */
export const secondStage: MethodTable = {
  baklava,
  cake,
  "critical-ada-kv": criticalOf("critical-ada-kv", ["safeguard"]),
  "critical-kv": criticalOf("critical-kv", []),
  "dbudget-kv": dbudgetKV,
  "defensive-kv": { policy: defensiveOf("defensive-kv") },
  lava,
  "layer-defensive-kv": { policy: defensiveOf("layer-defensive-kv") },
  "window-kv": windowKV,
  "zigzag-kv": zigzagKV,
};

function criticalOf(name: string, more: readonly string[]): MethodTable[string] {
  return {
    policy(params, { policyOf }: MethodContext): Method {
      const policy = policyOf(params.scorer);
      if ("skip" in policy) return policy;
      return {
        policy: createPolicy(name, {
          policy,
          keepProtected: false,
          ...pick(params, ["epsilon", "firstStage", ...more]),
        }),
        target: targetOf(params),
      };
    },
    outputs: { baseScores: ({ scores }) => scores },
    measured: { scores: finalScores },
  };
}

/** The scores of the second stage, those of the first being infinite. */
async function finalScores(event: KeepEvent): Promise<ArrayLike<number>> {
  const { vector, encoder, batch, target, scores, counts } = event;
  const { epsilon = 1e-4, firstStage = 0.5 } = vector.params as Record<string, number>;
  const { safeguard = vector.method === "critical-ada-kv" ? 0.2 : undefined } =
    vector.params as Record<string, number>;
  const norms = recordProjectedNorms(encoder, batch);
  const out = encoder.tensor("f32", batch.totalSlots);
  encoder.run(criticalScore, {
    ...{ batch, target, scores, counts, norms, epsilon, firstStage, safeguard, out },
  });
  return encoder.read(out);
}

/** As the reference: the window stays because it scores highest, not because it is protected. */
function defensiveOf(name: string) {
  return (params: Params): Method => {
    const options = ["window", "pooling", "criticalMass", "windowBias", "safeguard"];
    const policy = createPolicy(name, pick(params, options));
    return {
      policy: { ...policy, protect: { sinks: 0, recent: 0 } },
      target: targetOf(params),
    };
  };
}
