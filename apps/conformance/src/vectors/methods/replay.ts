import type { Scorer, SequenceSlot } from "@kvcache/core";
import { createHostEncoder, gatherKeys, gatherPositions, rowView } from "@kvcache/kernels";
import type { PagedCache } from "@kvcache/paged";
import { createPolicy } from "@kvcache/policies";
import { keyRedundancy, type WindowImportanceOptions, windowImportance } from "@kvcache/scorers";
import { keyRerotation, tspTokens } from "@kvcache/selectors";
import type { VectorCase } from "../case.ts";
import {
  type Method,
  type MethodContext,
  type MethodTable,
  type Params,
  pick,
  targetOf,
} from "../method.ts";
import type { KeepRun } from "../run-keep.ts";
import { modelOf } from "../vector-batch.ts";
import { filledCache } from "../vector-cache.ts";
import { runQuest } from "./run-quest.ts";

/** Methods that run extra passes, or read at decode time. */
export const replay: MethodTable = {
  "fast-kv": {
    policy: named("fast-kv", ["window", "pooling", "groupReduce"], { keepProtected: false }),
    outputs: { tspIndices },
  },
  finch: {
    policy: named("finch", ["window", "normalize", "chunk", "rerotate"], { keepProtected: false }),
    outputs: { rotatedKeys },
  },
  "key-rerotation": { policy: keyRerotationOf, outputs: { rotatedKeys } },
  "kv-compose": {
    policy: named("kv-compose", [
      "structured",
      "aggregateQueries",
      "aggregateGroup",
      "aggregateHeads",
      "valueNorm",
      "addHeadMean",
      "minimumTokens",
    ]),
  },
  "kv-zip": { policy: named("kv-zip", ["variant", "sinks", "chunk", "level", "layerwise"]) },
  "kv-zip-plus": { policy: named("kv-zip-plus", ["sinks", "chunk", "layerwise"]) },
  quest: { run: { keep: runQuest } },
  "r-kv": {
    policy: named("r-kv", ["window", "lambda", "pooling", "similarityThreshold", "groupReduce"]),
    outputs: {
      importance: (run) => beforeWindow(run, windowImportance(observedOf(run.vector.params))),
      redundancy: (run) => beforeWindow(run, keyRedundancy(pickedThreshold(run.vector.params))),
    },
  },
};

/** A policy whose parameters in the cases are its options. */
function named(name: string, options: readonly string[], more: Params = {}) {
  return (params: Params): Method => ({
    policy: createPolicy(name, { ...pick(params, options), ...more }),
    target: targetOf(params),
  });
}

function keyRerotationOf({ scorer, ...params }: Params, { policyOf }: MethodContext): Method {
  const policy = policyOf(scorer);
  if ("skip" in policy) return policy;
  return { policy: createPolicy("key-rerotation", { policy }), target: targetOf(params) };
}

/**
 * Keys of every row after the event, by position: [L, H, kept, d]. Where ties let the reference keep
 * other tokens, those are rotated instead.
 */
async function rotatedKeys({ cache, sequence, vector, indices }: KeepRun): Promise<Float32Array> {
  const kept = vector.tensors.get("indices")!.data;
  if (kept.every((slot, i) => slot === indices[i])) return keysByPosition(vector, cache, sequence);
  const fresh = filledCache(vector, 0);
  const encoder = createHostEncoder();
  const batch = fresh.cache.batch([fresh.sequence], {
    protect: { sinks: 0, recent: 0 },
    phase: "prefill",
    model: modelOf(vector),
  });
  const keep = {
    indptr: encoder.upload(Uint32Array.from(vector.tensors.get("indptr")!.data)),
    indices: encoder.upload(Uint32Array.from(kept)),
  };
  keyRerotation().apply(encoder, batch, keep, encoder.tensor("f32", batch.totalSlots));
  await fresh.cache.compact(encoder, batch, keep);
  return keysByPosition(vector, fresh.cache, fresh.sequence);
}

function keysByPosition(
  { shape }: VectorCase,
  { host }: PagedCache,
  sequence: SequenceSlot,
): Float32Array {
  const { layers, kvHeads, headDim } = shape;
  const out: number[] = [];
  for (let row = 0; row < layers * kvHeads; row++) {
    const view = rowView(host, sequence, Math.floor(row / kvHeads), row % kvHeads);
    const [keys, positions] = [gatherKeys(view), gatherPositions(view)];
    const order = [...positions.keys()].sort((a, b) => positions[a]! - positions[b]!);
    for (const slot of order) out.push(...keys.subarray(slot * headDim, (slot + 1) * headDim));
  }
  return Float32Array.from(out);
}

const observedOf = (params: Params): WindowImportanceOptions => ({
  window: 8,
  ...pick(params, ["window", "pooling", "groupReduce"]),
});
const pickedThreshold = (params: Params) => pick(params, ["similarityThreshold"]);

/** A scorer's numbers for the tokens before the window, as they were before the event: [L, H, n − w]. */
async function beforeWindow({ vector }: KeepRun, scorer: Scorer): Promise<Float32Array> {
  const { window } = observedOf(vector.params);
  const { cache, sequence, numQueries } = filledCache(vector, window);
  const encoder = createHostEncoder();
  const options = { protect: { sinks: 0, recent: 0 }, phase: "prefill" } as const;
  const batch = { ...cache.batch([sequence], options), windowLengths: [numQueries] };
  const scores = encoder.tensor("f32", batch.totalSlots);
  scorer.score(encoder, batch, scores);
  const all = await encoder.read(scores);
  const { tokens } = vector.shape;
  return Float32Array.from(all.filter((_, i) => i % tokens < tokens - window));
}

/** Hidden states that the layer passes on: all, unless it is the TSP layer of a longer prompt. */
function tspIndices({ vector, scores }: KeepRun): Uint32Array {
  const { kvHeads, tokens } = vector.shape;
  const { tspLayer, tspTokens: given, tspRatio = 1 } = vector.params;
  const count = (given as number | undefined) ?? Math.trunc(tokens * (tspRatio as number));
  return tspTokens(scores, kvHeads, tspLayer ? count : tokens);
}
