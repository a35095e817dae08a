import { hostArray, type WgslKernel } from "@kvcache/core";
import { rowLimitsWgsl } from "../uniform-counts/row-limits.wgsl.ts";
import { layerShares } from "./layer-shares.ts";
import type { PyramidCountsParams } from "./pyramid-counts.ts";

/** Lengths are known on the host, so the schedule is made there. */
export const pyramidCountsWgsl: WgslKernel<PyramidCountsParams> = {
  supports: ({ batch }) => "data" in batch.rowIndptr,
  record(params, recorder) {
    const { batch, scores, keepProtected, counts } = params;
    const indptr = hostArray(batch.rowIndptr, "u32");
    const heads = batch.shape.numKvHeads;
    const limits = batch.nextPositions.flatMap((_, sequence) => {
      const shares = layerShares(params, indptr, sequence);
      return batch.layers.flatMap((layer) => new Array<number>(heads).fill(shares[layer]!));
    });
    recorder.dispatch(
      rowLimitsWgsl({
        rowIndptr: batch.rowIndptr,
        scores,
        keepProtected,
        limits: Uint32Array.from(limits, (share) => Math.max(1, share)),
        counts,
      }),
    );
  },
};
