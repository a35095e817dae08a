import { type BudgetAllocator, checkFraction, checkOneOf, sum } from "@kvcache/core";
import { entropyCounts, sharedTotal } from "@kvcache/kernels";

export interface LavaOptions {
  /** Part of an even split that every head of a layer gets, in [0, 1]. Default 0. */
  readonly floor?: number;
  /** `reference` (default) loses what cutting to whole tokens leaves over; `exact` hands it out. */
  readonly rounding?: "reference" | "exact";
}

/**
 * LAVa — one loss bound shares tokens over layers and heads.
 * A layer gets tokens in proportion to the entropy of its scores, a head those of the layer's best
 * scores that it holds. Protected tokens stand outside: they are kept on top of a row's share.
 * Shen et al. 2025, arXiv:2509.09754. Differs from the paper: layers are compressed once, after the
 * last one; rounding can be exact; every row keeps at least one token.
 */
export function lava(options: LavaOptions = {}): BudgetAllocator {
  const { floor = 0, rounding = "reference" } = options;
  checkFraction("floor", floor);
  checkOneOf("rounding", rounding, ["reference", "exact"]);
  return Object.freeze<BudgetAllocator>({
    name: "lava",
    needs: [],
    resolve(request) {
      const { lengths, protect } = request;
      // Every row may round up, and keeps one token where nothing is protected.
      const rounds = floor > 0 && rounding === "reference";
      const drift = rounds || protect.sinks + protect.recent === 0 ? lengths.length : 0;
      return Math.min(sum(lengths), sharedTotal(request) + drift);
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(entropyCounts, { batch, target, scores, floor, rounding, counts }),
  });
}
