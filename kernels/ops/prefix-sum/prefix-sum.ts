import { defineKernel, hostArray, KvCacheError, type Tensor } from "@kvcache/core";
import { prefixSumWgsl } from "./prefix-sum.wgsl.ts";

export interface PrefixSumParams {
  /** u32 [n]. */
  readonly counts: Tensor;
  /** u32 [n + 1]: out[i] = counts[0] + … + counts[i − 1]. */
  readonly out: Tensor;
}

/** Exclusive prefix sum with total: row counts become the indptr of a CSR table. */
export const prefixSum = defineKernel<PrefixSumParams>({
  name: "prefix-sum",
  reference({ counts, out }) {
    if (out.length !== counts.length + 1)
      throw new KvCacheError(
        "invalid-argument",
        `The prefix sum of ${counts.length} counts has ${counts.length + 1} entries, not ${out.length}.`,
        { value: out.length },
      );
    const from = hostArray(counts, "u32");
    const to = hostArray(out, "u32");
    to[0] = 0;
    for (let i = 0; i < from.length; i++) to[i + 1] = to[i]! + from[i]!;
  },
  wgsl: prefixSumWgsl,
});
