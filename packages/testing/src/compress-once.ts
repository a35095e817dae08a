import { createReferenceBackend } from "@kvcache/backend-reference";
import {
  type BudgetTarget,
  type CompressionPhase,
  type EvictionPolicy,
  hostArray,
} from "@kvcache/core";
import { recordCompression } from "@kvcache/engine";
import { renumber } from "./renumber.ts";
import type { TokenCache } from "./token-cache.ts";

/** What an event decided; rows in the order sequence, layer, head. */
export interface CompressedOnce {
  /** Scores of each row by slot, +∞ where protected. */
  readonly scores: readonly Float32Array[];
  /** Kept positions of each row, ascending. */
  readonly kept: readonly (readonly number[])[];
}

/**
 * Runs one compression event over all sequences of a cache on the reference backend, after the
 * replay passes of a policy that asks for them. Policies that observe need a cache made with their
 * scorer.
 */
export async function compressOnce(
  made: TokenCache,
  policy: EvictionPolicy,
  target: BudgetTarget,
  phase: CompressionPhase = "prefill",
): Promise<CompressedOnce> {
  const { cache, sequences, positions } = made;
  const encoder = createReferenceBackend().attach(cache).encoder();
  made.replay();
  const batch = { ...made.batch(phase), protect: policy.protect };
  const { scores, keep } = recordCompression(encoder, batch, policy, target);
  const values = (await encoder.read(scores)) as Float32Array;
  await cache.compact(encoder, batch, keep);
  renumber(made, policy);
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
