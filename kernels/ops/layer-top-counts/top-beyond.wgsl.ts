import type { KvBatch, Tensor, WgslRecorder } from "@kvcache/core";
import { beyondLimit, recordDivision } from "../../src/divide-among-rows.wgsl.ts";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

export interface TopBeyondParams {
  readonly batch: KvBatch;
  readonly scores: Tensor;
  /** u32 [numRows]: best scores of each row that are kept in any case. */
  readonly sure: Tensor;
  /** Neighbouring rows that share what is left. */
  readonly rowsPerGroup: number;
  /** u32 [numRows / rowsPerGroup]: tokens that are left. */
  readonly left: Tensor;
  /** u32 [numRows]: those that are sure, and those among the group's best beyond them. */
  readonly counts: Tensor;
}

/** `layerTopCounts` on a device, for rows without their best `sure` scores. */
export function recordTopBeyond(recorder: WgslRecorder, params: TopBeyondParams): void {
  const { batch, scores, sure, rowsPerGroup, left, counts } = params;
  const { numRows, rowIndptr } = batch;
  const shares = recorder.tensor("u32", numRows);
  recordDivision(recorder, {
    rowIndptr,
    scores,
    numRows,
    rowsPerGroup,
    wanted: left,
    share: beyondLimit,
    limits: sure,
    shares,
  });
  recorder.dispatch({
    name: "sure and shared counts",
    code: forEachCode("counts[i] = sure[i] + shares[i];"),
    u32: { count: numRows },
    reads: { sure: { buffer: sure, type: "u32" }, shares: { buffer: shares, type: "u32" } },
    writes: { counts: { buffer: counts, type: "u32" } },
    workgroups: workgroupsFor(numRows),
  });
}
