import type { Backend, EvictionPolicy, KvBatch } from "@kvcache/core";
import { addSums, gatherPositions, gatherValues, rowView } from "@kvcache/kernels";
import { createPolicy } from "@kvcache/policies";
import { forwardMerging } from "@kvcache/selectors";
import { floats, skipped, type VectorCase, type Verdict } from "../case.ts";
import { compareFloats, compareIntegers, compareKeep, first } from "../compare.ts";
import {
  type Method,
  type MethodContext,
  type MethodTable,
  type Params,
  pick,
  targetOf,
} from "../method.ts";
import { indptrOfLists } from "../ragged-cache.ts";
import type { KeepRun } from "../run-keep.ts";
import { runSteps, type StepsOptions } from "../run-steps.ts";

/** Methods that wrap others, and budgets of the seeds. */
export const combinators: MethodTable = {
  chunk: { policy: wrapping("chunk", ["chunk"]) },
  "chunk-kv": {
    policy: wrapping("chunk-kv", ["chunk"], { keepProtected: false }),
    outputs: { scores: finiteScores },
  },
  "entropy-gated-chunk-kv": {
    policy: wrapping("entropy-gated-chunk-kv", ["chunk", "lowEntropyTokens"], {
      keepProtected: false,
    }),
    outputs: { scores: finiteScores },
  },
  block: { policy: wrapping("block", ["block"]) },
  merging: {
    policy: wrapping("merging", ["threshold", "fraction"]),
    outputs: { mergedValues: keptValues },
  },
  decoding: {
    policy: (params, context) => ({
      ...wrapping("decoding", ["interval"])(params, context),
      target: decodingTarget(params),
    }),
    run: { keep: runDecoding },
  },
  dms: {
    policy: wrapping("dms", ["threshold", "window", "decoding"]),
    run: { keep: runDms },
  },
  cam: {
    policy: camOf,
    outputs: {
      mergedValues: keptValues,
      mergeProbability: ({ vector }) => probabilities.get(vector)!,
    },
  },
};

/** A policy around the one that `params.scorer` names. */
function wrapping(name: string, options: readonly string[], more: Params = {}) {
  return (params: Params, { policyOf }: MethodContext): Method => {
    const policy = policyOf(params.scorer);
    if ("skip" in policy) return policy;
    return {
      policy: createPolicy(name, { policy, ...pick(params, options), ...more }),
      target: targetOf(params),
    };
  };
}

/** Scores as kvpress has them: protected slots are one above the best other score of their layer. */
function finiteScores({ vector, scores }: KeepRun): Float32Array {
  const perLayer = vector.shape.kvHeads * vector.shape.tokens;
  return Float32Array.from(scores, (score, i) => {
    if (Number.isFinite(score)) return score;
    const from = i - (i % perLayer);
    let best = Number.NEGATIVE_INFINITY;
    for (let j = from; j < from + perLayer; j++)
      if (Number.isFinite(scores[j]!)) best = Math.max(best, scores[j]!);
    return best + 1;
  });
}

/** Values of the compacted cache by row and position. */
function keptValues({ cache, sequence, vector }: KeepRun): Float32Array {
  const { layers, kvHeads, headDim } = vector.shape;
  const rows = Array.from({ length: layers * kvHeads }, (_, row) => {
    const view = rowView(cache.host, sequence, Math.floor(row / kvHeads), row % kvHeads);
    const positions = gatherPositions(view);
    const values = gatherValues(view);
    const order = Array.from(positions.keys()).sort((a, b) => positions[a]! - positions[b]!);
    return order.flatMap((slot) => [...values.subarray(slot * headDim, (slot + 1) * headDim)]);
  });
  return Float32Array.from(rows.flat());
}

const decodingTarget = ({ target, ratio }: Params) =>
  target === undefined ? { ratio: ratio as number } : { tokens: target as number };

async function runDecoding(vector: VectorCase, backend: Backend, method: Method): Promise<Verdict> {
  const { interval, prefill } = vector.params as Record<string, number>;
  return stepped(vector, backend, method, {
    prefill: prefill!,
    isDue: (step) => step > 0 && step % interval! === 0,
  });
}

async function runDms(vector: VectorCase, backend: Backend, method: Method): Promise<Verdict> {
  const { prefill, decoding } = vector.params;
  return stepped(vector, backend, method, {
    prefill: prefill as number,
    isDue: (step) => step === 0 || decoding === true,
  });
}

/** Runs a case pass by pass and compares what is left. */
async function stepped(
  vector: VectorCase,
  backend: Backend,
  method: Method,
  options: Pick<StepsOptions, "prefill" | "isDue">,
): Promise<Verdict> {
  if ("skip" in method) return skipped(method.skip);
  const { events, rows, scores } = await runSteps(vector, backend, { ...method, ...options });
  const expects = (name: string) => vector.expect.includes(name);
  const indptr = indptrOfLists(rows.map((row) => [...row]));
  const lengths = rows.map((row) => row.length);
  return first(
    ...(expects("events") ? [compareIntegers(vector, "events", events)] : []),
    ...(expects("scores") ? [compareFloats(vector, "scores", scores)] : []),
    ...(expects("counts") ? [compareIntegers(vector, "counts", lengths)] : []),
    compareKeep(vector, indptr, Int32Array.from(rows.flatMap((row) => [...row])), {
      scores: vector.tensors.get("scores")?.data,
      tokens: vector.shape.tokens,
    }),
  );
}

/** What the draws of a CaM case were made with, in their order. */
const probabilities = new WeakMap<VectorCase, number[]>();

/** CaM with the case's draws, over the attention that the case says the tokens got. */
function camOf(params: Params, context: MethodContext): Method {
  const { vector } = context;
  const made = wrapping("cam", ["mergeBudget"])(params, context);
  if ("skip" in made) return made;
  const seen: number[] = [];
  probabilities.set(vector, seen);
  const mask = vector.tensors.get("mergeMask")!.data;
  const transform = forwardMerging({
    merges: params.steps as number,
    neighbours: (params.mergeBudget as number | undefined) ?? 32,
    seed: 0,
    draw: ({ probability }) => mask[seen.push(probability) - 1]! > 0,
  });
  const sums = floats(vector, "attentionSum", vector.tensors.get("attentionSum")!.data.length);
  const { scorer } = made.policy;
  const policy: EvictionPolicy = {
    ...made.policy,
    transform,
    scorer: {
      ...scorer,
      score(encoder, batch: KvBatch, out, target) {
        encoder.run(addSums, { batch, power: 1, values: encoder.upload(sums) });
        scorer.score(encoder, batch, out, target);
      },
    },
  };
  return { policy, target: { tokens: params.target as number } };
}
