import type { KvBatch, Tensor, WgslRecorder } from "@kvcache/core";
import { rowLimitsWgsl } from "./row-limits.wgsl.ts";

/** Records how many slots of each row are protected: u32 [numRows]. */
export function recordProtectedCounts(
  recorder: WgslRecorder,
  batch: KvBatch,
  scores: Tensor,
): Tensor {
  const counts = recorder.tensor("u32", batch.numRows);
  const limits = new Uint32Array(batch.numRows);
  recorder.dispatch(
    rowLimitsWgsl({ rowIndptr: batch.rowIndptr, scores, keepProtected: true, limits, counts }),
  );
  return counts;
}
