import {
  type BudgetTarget,
  checkFraction,
  defineKernel,
  hostArray,
  type KvBatch,
  type Protect,
  type Scorer,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { type LeverageOptions, leverage } from "./leverage.ts";
import { type NonCausalAttentionOptions, nonCausalAttention } from "./non-causal-attention.ts";

export interface CompactorOptions
  extends Omit<LeverageOptions, "ridge" | "ends">,
    Omit<NonCausalAttentionOptions, "ends"> {
  /** First and last tokens: they take no part and score +∞. Default 8 and 4. */
  readonly ends?: Protect;
  /** Weight of the leverage scores; null (default) = the fraction that is evicted. */
  readonly blending?: number | null;
}

/** Weight where nothing says how much is evicted. */
const usualBlending = 0.35;

/**
 * Leverage of the keys × a weight + attention within chunks, both standardised over the layer.
 * Chari and Van Durme 2025, arXiv:2507.08143. Throws `invalid-argument` naming the option that is
 * out of range.
 */
export function compactor(options: CompactorOptions = {}): Scorer {
  const { ends = { sinks: 8, recent: 4 }, blending = null } = options;
  if (blending !== null) checkFraction("blending", blending);
  const outliers = leverage({ ...options, ends });
  const received = nonCausalAttention({ ...options, ends });
  return Object.freeze<Scorer>({
    name: "compactor",
    options: { ...outliers.options, ...received.options, ends, blending },
    needs: received.needs,
    createObserver: received.createObserver!,
    score(encoder, batch, out, target) {
      const leverages = encoder.tensor("f32", out.length);
      outliers.score(encoder, batch, leverages);
      received.score(encoder, batch, out);
      const weights = batch.sequences.map((_, i) => blending ?? evictedShare(batch, i, target));
      encoder.run(addWeighted, { batch, values: leverages, weights, out });
    },
  });
}

function evictedShare(batch: KvBatch, index: number, target?: BudgetTarget): number {
  if (!target) return usualBlending;
  if ("ratio" in target) return 1 - target.ratio;
  const next = batch.nextPositions[index]!;
  return Math.max(0, 1 - targetTokens(target, next, batch.layout) / next);
}

interface AddWeightedParams {
  readonly batch: KvBatch;
  readonly values: Tensor;
  /** Of each sequence. */
  readonly weights: readonly number[];
  readonly out: Tensor;
}

/** out += weight × values, a weight for each sequence; infinite numbers stay. */
const addWeighted = defineKernel<AddWeightedParams>({
  name: "add-weighted",
  reference({ batch, values, weights, out }) {
    const added = hostArray(values, "f32");
    const scores = hostArray(out, "f32");
    const indptr = hostArray(batch.rowIndptr, "u32");
    const rows = batch.numRows / batch.sequences.length;
    weights.forEach((weight, i) => {
      for (let slot = indptr[i * rows]!; slot < indptr[(i + 1) * rows]!; slot++)
        if (Number.isFinite(added[slot]!)) scores[slot] = scores[slot]! + weight * added[slot]!;
    });
  },
});
