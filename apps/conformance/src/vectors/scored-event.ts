import type { Backend, Encoder, EvictionPolicy, KvBatch, Tensor } from "@kvcache/core";
import { protectScores } from "@kvcache/kernels";
import type { VectorCase, Verdict } from "./case.ts";
import { first } from "./compare.ts";
import { sessionOver } from "./session-over.ts";
import { vectorRun } from "./vector-batch.ts";

export interface ScoredEvent {
  readonly encoder: Encoder;
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], after protection. */
  readonly scores: Tensor;
}

/** A case's cache after its prefill, scored and protected, for kinds that look at measures. */
export async function onScoredEvent(
  vector: VectorCase,
  backend: Backend,
  policy: EvictionPolicy,
  look: (event: ScoredEvent) => Promise<readonly Verdict[]>,
): Promise<Verdict> {
  const { cache, sequence, batch: batchOf } = vectorRun(vector, policy);
  const over = await sessionOver(backend, cache, sequence);
  try {
    const encoder = over.session.encoder();
    const batch = over.on(await batchOf({ protect: policy.protect, phase: "prefill" }));
    const scores = encoder.tensor("f32", batch.totalSlots);
    policy.scorer.score(encoder, batch, scores);
    encoder.run(protectScores, { batch, scores });
    return first(...(await look({ encoder, batch, scores })));
  } finally {
    await over.dispose();
    cache.dispose();
  }
}
