import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  sum,
  type Tensor,
} from "@kvcache/core";
import { layerTopCounts } from "../layer-top-counts/layer-top-counts.ts";
import { countProtected } from "../uniform-counts/uniform-counts.ts";
import { globalTopCountsWgsl } from "./global-top-counts.wgsl.ts";
import { scopeTokens } from "./scope-tokens.ts";

export interface GlobalTopCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Rows that compete: those of a layer, or all of a sequence. */
  readonly scope: "layer" | "model";
  /** Fraction of its even share that every row is sure of, in [0, 1]. */
  readonly safeguard: number;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * One ranking over all rows of a scope: its tokens go to the best scores, whichever row they lie in.
 * Each row keeps its protected tokens, and one at least.
 */
export const globalTopCounts = defineKernel<GlobalTopCountsParams>({
  name: "global-top-counts",
  reference({ batch, target, scores, scope, safeguard, counts }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const out = hostArray(counts, "u32");
    const rowsPerSequence = batch.shape.numKvHeads * batch.layers.length;
    const size = scope === "layer" ? batch.shape.numKvHeads : rowsPerSequence;
    for (let first = 0; first < batch.numRows; first += size) {
      const nextPosition = batch.nextPositions[Math.floor(first / rowsPerSequence)]!;
      const rows = Array.from({ length: size }, (_, i) => ({
        begin: indptr[first + i]!,
        end: indptr[first + i + 1]!,
      }));
      const lengths = rows.map(({ begin, end }) => end - begin);
      const least = rows.map(({ begin, end }) => Math.max(1, countProtected(scoreOf, begin, end)));
      const tokens = scopeTokens(target, { nextPosition, layout: batch.layout, lengths, least });
      const share = Math.trunc((tokens / size) * safeguard);
      const reserved = least.map((own, i) => Math.min(lengths[i]!, Math.max(own, share)));
      const sure = sum(reserved) <= tokens ? reserved : least;
      const contested = rows.map(({ begin, end }, i) =>
        Float64Array.from(scoreOf.subarray(begin, end)).sort().reverse().subarray(sure[i]!),
      );
      layerTopCounts(contested, tokens - sum(sure)).forEach((count, i) => {
        out[first + i] = sure[i]! + count;
      });
    }
  },
  wgsl: globalTopCountsWgsl,
});
