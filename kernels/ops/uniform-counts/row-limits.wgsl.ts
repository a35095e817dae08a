import { hostTensor, type Tensor, type WgslDispatch } from "@kvcache/core";
import { sortKeyCode } from "../../src/sort-key.wgsl.ts";
import { scanCode } from "../../src/workgroup-scan.wgsl.ts";

const lanes = 128;

const code = /* wgsl */ `
${sortKeyCode}
${scanCode(lanes)}
@compute @workgroup_size(${lanes})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) groups: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = workgroupIndex(id, groups);
  if (row >= params.numRows) { return; }
  let begin = rowIndptr[row];
  let end = rowIndptr[row + 1u];
  var own = 0u;
  for (var i = begin + lane; i < end; i += ${lanes}u) { own += u32(isInfinite(scores[i])); }
  let before = sumBefore(lane, own);
  if (lane == ${lanes - 1}u) {
    let least = select(0u, before + own, params.keepProtected == 1u);
    counts[row] = min(end - begin, max(limits[row], least));
  }
}
`;

export interface RowLimitsParams {
  readonly rowIndptr: Tensor;
  readonly scores: Tensor;
  readonly keepProtected: boolean;
  /** Tokens of each row, before its length and its protected slots are looked at. */
  readonly limits: Uint32Array;
  /** u32 [rows]. */
  readonly counts: Tensor;
}

/** counts[r] = min(length, max(limits[r], protected slots where those must stay)). */
export const rowLimitsWgsl = (params: RowLimitsParams): WgslDispatch => ({
  name: "row-limits",
  code,
  u32: { numRows: params.limits.length, keepProtected: Number(params.keepProtected) },
  reads: {
    rowIndptr: { buffer: params.rowIndptr, type: "u32" },
    scores: { buffer: params.scores, type: "f32" },
    limits: { buffer: hostTensor(params.limits), type: "u32" },
  },
  writes: { counts: { buffer: params.counts, type: "u32" } },
  workgroups: params.limits.length,
});
