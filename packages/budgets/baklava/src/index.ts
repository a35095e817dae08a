import {
  type BudgetAllocator,
  type BudgetTarget,
  type CacheLayout,
  checkFraction,
  checkProfile,
  checkWholeNumber,
  type HeadProfile,
  type KvShape,
  sum,
  targetTokens,
} from "@kvcache/core";
import { evenShare, profileCounts, roundHalfEven, type ShareFamily } from "@kvcache/kernels";
import { combineImportance } from "./importance.ts";
import { profileImportance, settingsFor } from "./profile.ts";

export * from "./importance.ts";
export * from "./profile.ts";
export * from "./profiler.ts";
export * from "./search.ts";

export interface BaklavaOptions {
  /** Of kind baklava, see `baklavaProfile`. Without it no plan is accepted. */
  readonly profile?: HeadProfile | null;
  /** Weight of head against layer importance; null (default): what the profile's search found. */
  readonly gamma?: number | null;
  /** How importance becomes tokens; null (default): what the profile's search found. */
  readonly family?: ShareFamily | null;
  /** Tokens that every row keeps, as far as an even share allows. Default 36. */
  readonly minTokens?: number;
}

/**
 * BaKlaVa — tokens by how much each head changes what enters it.
 * A profile, made once for the model, holds one minus the mean cosine between every head's input and
 * output, and every layer's; a search on held-out text says how that becomes tokens.
 * Gulhan et al. 2025, arXiv:2502.13176. Differs from the paper: its formulas and search space were not
 * to be had; these are a reconstruction from its abstract and summaries.
 */
export function baklava(options: BaklavaOptions = {}): BudgetAllocator {
  const { profile = null, gamma = null, family = null, minTokens = 36 } = options;
  if (gamma !== null) checkFraction("gamma", gamma);
  checkWholeNumber("minTokens", minTokens, 1);
  const importance = profile && profileImportance(profile);
  const checkShape = (shape: KvShape, fingerprint?: string) =>
    checkProfile("baklava", profile, shape, fingerprint);

  function sharesOf(target: BudgetTarget, nextPosition: number, layout: CacheLayout) {
    const tokens = targetTokens(target, nextPosition, layout);
    const ratio =
      "ratio" in target ? target.ratio : Math.min(1, Math.max(1, tokens) / nextPosition);
    const found = settingsFor(profile!, ratio);
    return {
      importance: combineImportance(importance!, gamma ?? found.gamma),
      family: family ?? found.family,
    };
  }

  return Object.freeze<BudgetAllocator>({
    name: "baklava",
    needs: [],
    checkShape,
    resolve(request) {
      const { target, lengths, nextPosition, layout, protect } = request;
      checkShape(layout.shape);
      evenShare(request, true);
      const rows = lengths.length;
      const total =
        "ratio" in target
          ? target.ratio * rows * nextPosition
          : targetTokens(target, nextPosition, layout) * rows;
      const even = Math.max(1, Math.trunc(total / rows));
      const least = Math.max(1, protect.sinks + protect.recent, Math.min(even, minTokens));
      const floor = sum(lengths.map((length) => Math.min(length, least)));
      return Math.max(floor, Math.min(sum(lengths), roundHalfEven(total)));
    },
    allocate(encoder, { batch, target, scores }, counts) {
      checkShape(batch.shape);
      const { nextPositions, layout } = batch;
      const shares = nextPositions.map((next) => sharesOf(target, next, layout));
      encoder.run(profileCounts, { batch, target, scores, shares, minTokens, counts });
    },
  });
}
