import { hostArray, hostTensor, type WgslKernel } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";
import { recordTopBeyond } from "../layer-top-counts/top-beyond.wgsl.ts";
import { recordProtectedCounts } from "../uniform-counts/protected-counts.wgsl.ts";
import type { GlobalTopCountsParams } from "./global-top-counts.ts";
import { scopeTokens } from "./scope-tokens.ts";

/** A thread per scope. `given[2 × i]` is what its rows keep together, behind it each one's share. */
const code = forEachCode(/* wgsl */ `
  let first = i * params.size;
  let end = first + params.size;
  var least = 0u;
  for (var row = first; row < end; row++) { least += max(1u, isProtected[row]); }
  let tokens = max(given[2u * i], least);
  var reserved = 0u;
  for (var row = first; row < end; row++) {
    let own = max(max(1u, isProtected[row]), given[2u * i + 1u]);
    sure[row] = min(rowIndptr[row + 1u] - rowIndptr[row], own);
    reserved += sure[row];
  }
  if (reserved > tokens) {
    reserved = least;
    for (var row = first; row < end; row++) { sure[row] = max(1u, isProtected[row]); }
  }
  left[i] = tokens - min(tokens, reserved);
`);

/**
 * Shares are cut on the host, in double precision: where protected slots ask for more than the
 * target has, every row keeps just those.
 */
export const globalTopCountsWgsl: WgslKernel<GlobalTopCountsParams> = {
  supports: ({ batch }) => "data" in batch.rowIndptr,
  record({ batch, target, scores, scope, safeguard, counts }, recorder) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const rowsPerSequence = batch.shape.numKvHeads * batch.layers.length;
    const size = scope === "layer" ? batch.shape.numKvHeads : rowsPerSequence;
    const numScopes = batch.numRows / size;
    const given = Array.from({ length: numScopes }, (_, i) => {
      const nextPosition = batch.nextPositions[Math.floor((i * size) / rowsPerSequence)]!;
      const lengths = Array.from(
        { length: size },
        (_, row) => indptr[i * size + row + 1]! - indptr[i * size + row]!,
      );
      const tokens = scopeTokens(target, {
        nextPosition,
        layout: batch.layout,
        lengths,
        least: [],
      });
      return [tokens, Math.trunc((tokens / size) * safeguard)];
    });
    const sure = recorder.tensor("u32", batch.numRows);
    const left = recorder.tensor("u32", numScopes);
    const isProtected = recordProtectedCounts(recorder, batch, scores);
    recorder.dispatch({
      name: "global-top-counts",
      code,
      u32: { count: numScopes, size },
      reads: {
        rowIndptr: { buffer: batch.rowIndptr, type: "u32" },
        isProtected: { buffer: isProtected, type: "u32" },
        given: { buffer: hostTensor(Uint32Array.from(given.flat())), type: "u32" },
      },
      writes: { sure: { buffer: sure, type: "u32" }, left: { buffer: left, type: "u32" } },
      workgroups: workgroupsFor(numScopes),
    });
    recordTopBeyond(recorder, { batch, scores, sure, rowsPerGroup: size, left, counts });
  },
};
