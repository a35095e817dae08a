import type { Encoder, KeepSet, KvBatch, Tensor } from "@kvcache/core";
import { prefixSum } from "@kvcache/kernels";

/** Allocates the keep set of a batch, u32 [batch.numRows] slots a row, for `fill` to record. */
export function recordRows(
  encoder: Encoder,
  batch: KvBatch,
  counts: Tensor,
  fill: (keep: KeepSet) => void,
): KeepSet {
  const indptr = encoder.tensor("u32", batch.numRows + 1);
  const indices = encoder.tensor("u32", batch.totalSlots);
  encoder.run(prefixSum, { counts, out: indptr });
  fill({ indptr, indices });
  return { indptr, indices };
}
