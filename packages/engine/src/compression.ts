import type {
  BudgetTarget,
  Encoder,
  EvictionPolicy,
  KeepSet,
  KvBatch,
  Tensor,
} from "@kvcache/core";
import { protectScores } from "@kvcache/kernels";

/** What one compression event decided, as handles: read them or hand `keep` to `cache.compact`. */
export interface RecordedCompression {
  /** f32 [batch.totalSlots]: higher = keep, +∞ where protected. */
  readonly scores: Tensor;
  /** u32 [batch.numRows]: tokens kept per row. */
  readonly counts: Tensor;
  readonly keep: KeepSet;
}

/**
 * Records one compression event for a batch: score, protect, budget, select, and the policy's change
 * of kept entries. Nothing is evicted yet: submit the encoder, then `cache.compact(encoder, batch,
 * keep)`. Policies that read attention sums may also write them, so unshare their sequences first.
 */
export function recordCompression(
  encoder: Encoder,
  batch: KvBatch,
  policy: EvictionPolicy,
  target: BudgetTarget,
): RecordedCompression {
  const scores = encoder.tensor("f32", batch.totalSlots);
  policy.scorer.score(encoder, batch, scores, target);
  encoder.run(protectScores, { batch, scores });
  const counts = encoder.tensor("u32", batch.numRows);
  policy.budget.allocate(encoder, { batch, target, scores }, counts);
  const keep = policy.selector.select(encoder, batch, scores, counts, target);
  policy.transform?.apply(encoder, batch, keep, scores);
  return { scores, counts, keep };
}
