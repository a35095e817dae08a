import { hostArray, hostTensor, type WgslKernel } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import { recordTopBeyond } from "../layer-top-counts/top-beyond.wgsl.ts";
import { recordProtectedCounts } from "../uniform-counts/protected-counts.wgsl.ts";
import { tokensOfRows } from "../uniform-counts/uniform-counts.wgsl.ts";
import type { ReservedCountsParams } from "./reserved-counts.ts";

/** A thread per layer. `shares[2 × row]` is a row's even share, behind it the part that is sure. */
const code = forEachCode(/* wgsl */ `
  var total = 0u;
  for (var row = i * params.heads; row < (i + 1u) * params.heads; row++) {
    let held = isProtected[row];
    let even = select(shares[2u * row], max(shares[2u * row], held), params.keepProtected == 1u);
    sure[row] = min(even, max(max(1u, shares[2u * row + 1u]), held));
    total += even - sure[row];
  }
  left[i] = total;
`);

/**
 * The sure part of an even share is cut on the host, in double precision: where protected slots
 * raise the share, they are the larger part anyway.
 */
export const reservedCountsWgsl: WgslKernel<ReservedCountsParams> = {
  supports: ({ batch }) => "data" in batch.rowIndptr,
  record({ batch, target, scores, safeguard, keepProtected, counts }, recorder) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const heads = batch.shape.numKvHeads;
    const numLayers = batch.numRows / heads;
    const shares = tokensOfRows(batch, target).flatMap((tokens, row) => {
      const even = Math.min(indptr[row + 1]! - indptr[row]!, tokens);
      return [even, Math.trunc(even * safeguard)];
    });
    const sure = recorder.tensor("u32", batch.numRows);
    const left = recorder.tensor("u32", numLayers);
    const isProtected = recordProtectedCounts(recorder, batch, scores);
    recorder.dispatch({
      name: "reserved-counts",
      code,
      u32: { count: numLayers, heads, keepProtected: Number(keepProtected) },
      reads: {
        isProtected: { buffer: isProtected, type: "u32" },
        shares: { buffer: hostTensor(Uint32Array.from(shares)), type: "u32" },
      },
      writes: { sure: { buffer: sure, type: "u32" }, left: { buffer: left, type: "u32" } },
      workgroups: workgroupsFor(numLayers),
    });
    recordTopBeyond(recorder, { batch, scores, sure, rowsPerGroup: heads, left, counts });
  },
};
