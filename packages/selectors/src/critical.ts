import { checkFraction, KvCacheError, type Selector } from "@kvcache/core";
import { criticalScore, recordProjectedNorms, recordTopK } from "@kvcache/kernels";

export interface CriticalOptions {
  /** Fraction of the kept tokens that the scores choose alone. Default 0.5. */
  readonly firstStage?: number;
  /** Added to the scores before they are multiplied. Default 1e-4. */
  readonly epsilon?: number;
  /**
   * For budgets that differ between rows: the first stage is a fraction of the row's own tokens, but
   * not below this fraction of an even share. Absent: a fraction of the even share.
   */
  readonly safeguard?: number;
}

/**
 * A choice in two stages: part of the budget goes to the highest scores, the rest to the highest
 * (score + ε) × ‖W_O v‖₁. Needs to know the model. Throws `invalid-argument` naming the option that
 * is out of range. Feng et al. 2025, arXiv:2502.03805.
 */
export function critical(options: CriticalOptions = {}): Selector {
  const { firstStage = 0.5, epsilon = 1e-4, safeguard } = options;
  checkFraction("firstStage", firstStage);
  if (safeguard !== undefined) checkFraction("safeguard", safeguard);
  if (!(epsilon >= 0 && Number.isFinite(epsilon)))
    throw new KvCacheError("invalid-argument", `epsilon must not be negative, got ${epsilon}.`, {
      value: epsilon,
    });
  return Object.freeze<Selector>({
    name: "critical",
    needs: [{ kind: "outputWeight" }],
    select(encoder, batch, scores, counts, target) {
      const norms = recordProjectedNorms(encoder, batch);
      const out = encoder.tensor("f32", batch.totalSlots);
      encoder.run(criticalScore, {
        batch,
        target,
        scores,
        counts,
        norms,
        epsilon,
        firstStage,
        safeguard,
        out,
      });
      return recordTopK(encoder, batch, out, counts);
    },
  });
}
