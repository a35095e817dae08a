import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  type BudgetTarget,
  type CompressionPhase,
  type EvictionPolicy,
  hostArray,
} from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import type { TokenCache } from "./token-cache.ts";

/** What an event decided; rows in the order sequence, layer, head. */
export interface CompressedOnce {
  /** Scores of each row by slot, +∞ where protected. */
  readonly scores: readonly Float32Array[];
  /** Kept positions of each row, ascending. */
  readonly kept: readonly (readonly number[])[];
}

/** Runs one compression event over all sequences of a cache on the reference backend. */
export async function compressOnce(
  { cache, sequences, positions }: TokenCache,
  policy: EvictionPolicy,
  target: BudgetTarget,
  phase: CompressionPhase = "prefill",
): Promise<CompressedOnce> {
  const encoder = createReferenceBackend().attach(cache).encoder();
  const batch = cache.batch(sequences, { protect: policy.protect, phase });
  const { scores, keep } = recordCompression(encoder, batch, policy, target);
  const values = (await encoder.read(scores)) as Float32Array;
  await cache.compact(encoder, batch, keep);
  const indptr = hostArray(batch.rowIndptr, "u32");
  const rows = batch.numRows / sequences.length;
  return {
    scores: Array.from({ length: batch.numRows }, (_, row) =>
      values.slice(indptr[row]!, indptr[row + 1]!),
    ),
    kept: sequences.flatMap((sequence) =>
      Array.from({ length: rows }, (_, row) =>
        Array.from(positions(sequence, row)).sort((a, b) => a - b),
      ),
    ),
  };
}
