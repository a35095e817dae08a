import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  type Backend,
  type BudgetTarget,
  type Encoder,
  hostTensor,
  type KvBatch,
  type SequenceSlot,
  type Tensor,
  type TensorArray,
} from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { createHostEncoder } from "@kvcache/kernels";
import type { PagedCache } from "@kvcache/paged";
import { failed, passed, skipped, type VectorCase, type Verdict } from "./case.ts";
import { compareFloats, compareIntegers, compareKeep, first } from "./compare.ts";
import { adapterOf, methodOf } from "./methods/index.ts";
import { sessionOver } from "./session-over.ts";
import { vectorRun } from "./vector-batch.ts";

/** One compression event right after a case's prefill, nothing evicted yet. */
export interface KeepEvent {
  readonly vector: VectorCase;
  readonly encoder: Encoder;
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], protected; u32 [batch.numRows]. */
  readonly scores: Tensor;
  readonly counts: Tensor;
}

/** That event, the cache compacted. */
export interface KeepRun {
  readonly vector: VectorCase;
  readonly cache: PagedCache;
  readonly sequence: SequenceSlot;
  /** Rows before the event. */
  readonly batch: KvBatch;
  readonly scores: ArrayLike<number>;
  readonly counts: ArrayLike<number>;
  readonly indptr: TensorArray;
  readonly indices: TensorArray;
  /** Values that were read before the cache was compacted, by name. */
  readonly measured: ReadonlyMap<string, ArrayLike<number>>;
}

/** Scores, counts and kept slots, and what else the method's adapter gives of the event. */
export async function runKeep(
  vector: VectorCase,
  backend: Backend = createReferenceBackend(),
): Promise<Verdict> {
  const method = methodOf(vector);
  if ("skip" in method) return skipped(method.skip);
  const { policy, target } = method;
  const { cache, sequence, batch: batchOf } = vectorRun(vector, policy);
  const over = await sessionOver(backend, cache, sequence);
  try {
    const encoder = over.session.encoder();
    const own = await batchOf({ protect: policy.protect, phase: "prefill" });
    const batch = over.on(own);
    adapterOf(vector.method).before?.(encoder, batch, policy, vector);
    const { scores, counts, keep } = recordCompression(encoder, batch, policy, target);
    const measured = await measure({ vector, encoder, batch, target, scores, counts });
    const run: KeepRun = {
      measured,
      vector,
      cache,
      sequence,
      batch: own,
      scores: await encoder.read(scores),
      counts: await encoder.read(counts),
      indptr: await encoder.read(keep.indptr),
      indices: await encoder.read(keep.indices),
    };
    await cache.compact(createHostEncoder(), own, {
      indptr: hostTensor(run.indptr),
      indices: hostTensor(run.indices),
    });
    return first(...(await comparisons(run)));
  } finally {
    await over.dispose();
    cache.dispose();
  }
}

async function measure(event: KeepEvent): Promise<ReadonlyMap<string, ArrayLike<number>>> {
  const { measured = {} } = adapterOf(event.vector.method);
  const values = new Map<string, ArrayLike<number>>();
  for (const name of event.vector.expect)
    if (measured[name]) values.set(name, await measured[name](event));
  return values;
}

async function comparisons(run: KeepRun): Promise<Verdict[]> {
  const { vector, indptr, indices } = run;
  const { exact, outputs = {} } = adapterOf(vector.method);
  const verdicts: Verdict[] = [];
  for (const name of vector.expect) {
    if (name === "indptr") continue;
    const measured = run.measured.get(name);
    if (measured) verdicts.push(compare(vector, name, measured));
    else if (name === "indices")
      verdicts.push(
        compareKeep(vector, indptr, indices, {
          // Methods that evict whole blocks, and cases without scores, leave no free swaps.
          scores: exact ? undefined : vector.tensors.get("scores")?.data,
          tokens: vector.shape.tokens,
          freeBelow: vector.method === "streaming-llm" ? ((vector.params.sinks as number) ?? 0) : 0,
        }),
      );
    else if (outputs[name]) verdicts.push(compare(vector, name, await outputs[name](run)));
    else if (name === "scores") verdicts.push(compare(vector, name, run.scores));
    else if (name === "counts") verdicts.push(compare(vector, name, run.counts));
    else verdicts.push(failed(`nothing here gives ${name}`));
  }
  return verdicts.length > 0 ? verdicts : [passed];
}

/** By the type of what is expected. */
const compare = (vector: VectorCase, name: string, ours: ArrayLike<number>): Verdict =>
  vector.tensors.get(name)!.data instanceof Float32Array
    ? compareFloats(vector, name, ours)
    : compareIntegers(vector, name, ours);
