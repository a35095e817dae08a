import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";

export interface CriticalScoreParams {
  readonly batch: KvBatch;
  /** What the event aims at; the counts stand in where it is not known. */
  readonly target: BudgetTarget | undefined;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** u32 [batch.numRows]: tokens that each row keeps. */
  readonly counts: Tensor;
  /** f32 [batch.totalSlots]: size of what each token can add to the output. */
  readonly norms: Tensor;
  /** Added to the scores before they are multiplied. */
  readonly epsilon: number;
  /** Fraction of the kept tokens that the scores choose alone. */
  readonly firstStage: number;
  /**
   * Fraction of an even share that the scores choose alone in any case. With it the first stage is
   * a fraction of the row's own count, without it of the target's even share.
   */
  readonly safeguard: number | undefined;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
}

/**
 * Scores of a choice in two stages: +∞ for the best tokens of each row by the scores given,
 * (score + ε) × norm for the others. Two equal scores: the lower slot goes first.
 */
export const criticalScore = defineKernel<CriticalScoreParams>({
  name: "critical-score",
  reference(params) {
    const { batch, epsilon } = params;
    const indptr = hostArray(batch.rowIndptr, "u32");
    const scores = hostArray(params.scores, "f32");
    const norms = hostArray(params.norms, "f32");
    const out = hostArray(params.out, "f32");
    for (let row = 0; row < batch.numRows; row++) {
      const [begin, end] = [indptr[row]!, indptr[row + 1]!];
      for (let slot = begin; slot < end; slot++)
        out[slot] =
          scores[slot] === Number.POSITIVE_INFINITY
            ? Number.POSITIVE_INFINITY
            : (scores[slot]! + epsilon) * norms[slot]!;
      const order = Array.from({ length: end - begin }, (_, j) => begin + j);
      order.sort((a, b) => (scores[a] === scores[b] ? a - b : scores[b]! > scores[a]! ? 1 : -1));
      for (const slot of order.slice(0, firstStageOf(params, row)))
        out[slot] = Number.POSITIVE_INFINITY;
    }
  },
});

function firstStageOf(params: CriticalScoreParams, row: number): number {
  const { batch, target, firstStage, safeguard } = params;
  const count = hostArray(params.counts, "u32")[row]!;
  const sequence = Math.floor(row / (batch.layers.length * batch.shape.numKvHeads));
  const nextPosition = batch.nextPositions[sequence]!;
  const even = target ? targetTokens(target, nextPosition, batch.layout) : count;
  if (safeguard === undefined) {
    const share = target && "ratio" in target ? nextPosition * target.ratio : even;
    return Math.min(count, Math.max(1, Math.trunc(share * firstStage)));
  }
  const safe = safeguard > 0 ? Math.max(1, Math.trunc(even * safeguard)) : 0;
  return Math.min(count, Math.max(safe, Math.trunc(count * firstStage)));
}
