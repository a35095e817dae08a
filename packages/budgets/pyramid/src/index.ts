import { type BudgetAllocator, checkOneOf, KvCacheError } from "@kvcache/core";
import { evenShare, meanTokens, pyramidCounts, pyramidSchedule } from "@kvcache/kernels";

export interface PyramidOptions {
  /** The last layer keeps about 1 / beta of the mean; at least 1, which is an even split. Default 20. */
  readonly beta?: number;
  /**
   * `kvpress` (default) counts protected tokens as part of a layer's share; `reference` (the
   * authors' later KVCache-Factory) adds them on top in whole numbers, so that totals can be too
   * large; `exact` is `reference` with its total corrected.
   */
  readonly rule?: "kvpress" | "reference" | "exact";
  /** A row keeps at least its protected tokens, also where its layer's share is smaller. Default true. */
  readonly keepProtected?: boolean;
}

/**
 * Pyramid — lower layers keep more, falling evenly to the last layer.
 * The mean over layers is the target; from about twice the mean in the first layer to 1 / beta of it.
 * Cai et al. 2024, arXiv:2406.02069. Differs from the paper: an even split where a prompt is short
 * for the schedule (as both implementations), the length of the longest row stands for the prompt's.
 */
export function pyramid(options: PyramidOptions = {}): BudgetAllocator {
  const { beta = 20, rule = "kvpress", keepProtected = true } = options;
  checkOneOf("rule", rule, ["kvpress", "reference", "exact"]);
  if (!(beta >= 1 && Number.isFinite(beta)))
    throw new KvCacheError("invalid-argument", `beta must be at least 1, got ${beta}.`, {
      value: beta,
      remedy: "1 splits evenly, 20 is the paper's choice.",
    });
  return Object.freeze<BudgetAllocator>({
    name: "pyramid",
    needs: [],
    keepsAllAtRatio1: true,
    resolve(request) {
      // Refuses what the mean itself cannot reach.
      evenShare(request, keepProtected);
      const { target, lengths, nextPosition, layout, protect } = request;
      const { numLayers, numKvHeads } = layout.shape;
      const window = protect.sinks + protect.recent;
      const shares = pyramidSchedule({
        tokens: meanTokens(target, nextPosition, layout, rule),
        length: lengths.reduce((most, length) => Math.max(most, length), 0),
        window,
        numLayers,
        beta,
        rule,
      });
      const least = Math.max(1, keepProtected ? window : 1);
      return lengths.reduce(
        (total, length, row) =>
          total + Math.min(length, Math.max(least, shares[Math.floor(row / numKvHeads)]!)),
        0,
      );
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(pyramidCounts, { batch, target, scores, beta, rule, keepProtected, counts }),
  });
}
