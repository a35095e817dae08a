import { type Backend, type EvictionPolicy, groupSize, type Protect } from "@kvcache/core";
import { type HaltingDecision, haltingCounts, windowSums } from "@kvcache/kernels";
import { createPolicy } from "@kvcache/policies";
import { floats, passed, type VectorCase, type Verdict } from "../case.ts";
import { compareFloats, compareIntegers, compareKeep } from "../compare.ts";
import type { MethodAdapter, Params } from "../method.ts";
import { pick, targetOf } from "../method.ts";
import { onScoredEvent } from "../scored-event.ts";

export const dbudgetKV: MethodAdapter = {
  policy: (params) => ({ policy: policyOf(params), target: targetOf(params) }),
  exact: true,
  prepare: withEntries,
  run: { metric: runMetric },
};

const policyOf = (params: Params): EvictionPolicy =>
  createPolicy("dbudget-kv", {
    skipLayers: [],
    protect: (params.protect ?? null) as Protect | null,
    ...pick(params, ["threshold", "ordering", "skipLayers"]),
  });

/** F(0), the loss after every candidate, and how many went, of every layer; kept slots if asked. */
async function runMetric(vector: VectorCase, backend: Backend): Promise<Verdict> {
  const policy = policyOf(vector.params);
  const target = targetOf(vector.params);
  const { threshold, skipLayers } = policy.options as { threshold: number; skipLayers: number[] };
  return onScoredEvent(vector, backend, policy, async ({ encoder, batch, scores }) => {
    const attention = encoder.tensor("f32", batch.totalSlots * groupSize(batch.shape));
    encoder.run(windowSums, { batch, window: 1, out: attention });
    const decisions: HaltingDecision[] = [];
    const counts = encoder.tensor("u32", batch.numRows);
    encoder.run(haltingCounts, {
      ...{ batch, target, scores, attention, threshold, skipLayers, counts },
      onLayer: (decision) => decisions.push(decision),
    });
    const keep = policy.selector.select(encoder, batch, scores, counts, target);
    const indptr = await encoder.read(keep.indptr);
    const indices = await encoder.read(keep.indices);
    const baselines = decisions.map(({ baseline }) => baseline);
    const losses = decisions.flatMap((decision) => [...decision.losses]);
    const evicted = decisions.map((decision) => decision.evicted);
    const { tokens } = vector.shape;
    return [
      compareFloats(vector, "baseline", baselines),
      compareFloats(vector, "delta", losses),
      compareIntegers(vector, "evicted", evicted),
      vector.expect.includes("indices")
        ? compareKeep(vector, indptr, indices, { scores: undefined, tokens })
        : passed,
    ];
  });
}

/**
 * Cases that give the last row of attention: keys are unit vectors and queries logarithms of the
 * weights, so that our attention comes out as those weights.
 */
function withEntries(vector: VectorCase): VectorCase {
  if (!vector.tensors.has("attention")) return vector;
  const { layers, queryHeads, kvHeads, tokens } = vector.shape;
  const keys = new Float32Array(layers * kvHeads * tokens * tokens);
  for (let i = 0; i < layers * kvHeads * tokens; i++) keys[i * tokens + (i % tokens)] = 1;
  const weights = floats(vector, "attention", layers * queryHeads * tokens);
  const queries = weights.map((weight) => Math.sqrt(tokens) * Math.log(Math.max(weight, 1e-37)));
  return {
    ...vector,
    shape: { ...vector.shape, headDim: tokens },
    tensors: new Map([
      ...vector.tensors,
      ["keys", { shape: [layers, kvHeads, tokens, tokens], data: keys }],
      ["queries", { shape: [layers, queryHeads, 1, tokens], data: queries }],
    ]),
  };
}
