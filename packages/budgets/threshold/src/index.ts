import { type BudgetAllocator, KvCacheError, sum } from "@kvcache/core";
import { evenShare, thresholdCounts } from "@kvcache/kernels";

export interface ThresholdOptions {
  /** Tokens that score less go; null (default): none is too low. */
  readonly threshold?: number | null;
}

/**
 * Threshold — what scores at least so much stays, however many tokens that are.
 * The target is a ceiling: of more tokens than it allows, a row keeps the best.
 * The rule of DMS, Łańcucki et al. 2025, arXiv:2506.05345. Differs from the paper: there is a ceiling,
 * and every row keeps at least one token.
 */
export function threshold({ threshold: least = null }: ThresholdOptions = {}): BudgetAllocator {
  if (least !== null && !Number.isFinite(least))
    throw new KvCacheError("invalid-argument", `threshold must be a number, got ${least}.`, {
      value: least,
      remedy: "Leave it out to evict by the budget alone.",
    });
  return Object.freeze<BudgetAllocator>({
    name: "threshold",
    needs: [],
    resolve: (request) => sum(evenShare(request, true)),
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(thresholdCounts, {
        batch,
        target,
        scores,
        threshold: least ?? undefined,
        counts,
      }),
  });
}
