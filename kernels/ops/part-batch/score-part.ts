import { type BudgetTarget, hostArray, type KvBatch, type Scorer } from "@kvcache/core";
import { createHostEncoder } from "../../src/host-encoder.ts";
import { partBatch } from "./part-batch.ts";

/** A part of a batch and the scores of its slots: row r has scores[indptr[r]] … */
export interface PartScores {
  readonly batch: KvBatch;
  readonly indptr: Uint32Array;
  readonly scores: Float32Array;
}

/**
 * Scores of some slots of every row, as if the cache held no others. It runs on the host at once:
 * call it inside a kernel's reference.
 */
export function scorePart(
  scorer: Scorer,
  whole: KvBatch,
  slots: readonly ArrayLike<number>[],
  target?: BudgetTarget,
): PartScores {
  const batch = partBatch(whole, slots);
  const encoder = createHostEncoder();
  const scores = encoder.tensor("f32", batch.totalSlots);
  if (batch.totalSlots > 0) scorer.score(encoder, batch, scores, target);
  return { batch, indptr: hostArray(batch.rowIndptr, "u32"), scores: hostArray(scores, "f32") };
}
