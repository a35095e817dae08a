import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";

export interface MinimumBudgetParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], not negative: what a row's tokens are worth. */
  readonly importance: Tensor;
  /** Fraction of a row's worth that must be kept, in (0, 1]. */
  readonly mass: number;
  /** f32 [batch.numRows]. */
  readonly out: Tensor;
}

/** Tokens, the dearest first, that carry `mass` of each row's worth. */
export const minimumBudget = defineKernel<MinimumBudgetParams>({
  name: "minimum-budget",
  reference({ batch, importance, mass, out }) {
    const indptr = hostArray(batch.rowIndptr, "u32");
    const worth = hostArray(importance, "f32");
    const budgets = hostArray(out, "f32");
    for (let row = 0; row < batch.numRows; row++)
      budgets[row] = tokensForMass(worth.subarray(indptr[row]!, indptr[row + 1]!), mass);
  },
});

/**
 * Smallest number of the largest values whose sum reaches `mass` of all, to a millionth of it: 1 at
 * least where there are any.
 */
export function tokensForMass(values: ArrayLike<number>, mass: number): number {
  const descending = Float64Array.from(values).sort().reverse();
  const total = descending.reduce((sum, value) => sum + value, 0);
  let carried = 0;
  let tokens = 0;
  while (tokens < descending.length) {
    carried += descending[tokens]!;
    tokens++;
    if (carried >= mass * total - 1e-6 * total) break;
  }
  return tokens;
}
