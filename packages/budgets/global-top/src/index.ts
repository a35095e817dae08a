import { type BudgetAllocator, checkFraction, checkOneOf } from "@kvcache/core";
import { evenShare, globalTopCounts, scopeTokens } from "@kvcache/kernels";

export interface GlobalTopOptions {
  /** Rows that compete: those of one layer (default), or all of a sequence. */
  readonly scope?: "layer" | "model";
  /** Part of its even share that every row is sure of, in [0, 1]. Default 0. */
  readonly safeguard?: number;
}

/**
 * Global top — one ranking over all rows of a layer, or of the model.
 * The scope's tokens go to the best scores, whichever row they lie in; protected tokens are part of
 * them. A ratio is cut to a whole number once for the whole scope.
 * The rule of Ada-KV without its safeguard, Feng et al. 2024, arXiv:2407.11550, and of
 * Layer-DefensiveKV, arXiv:2510.13334. Differs from the paper: every row keeps at least one token.
 */
export function globalTop(options: GlobalTopOptions = {}): BudgetAllocator {
  const { scope = "layer", safeguard = 0 } = options;
  checkOneOf("scope", scope, ["layer", "model"]);
  checkFraction("safeguard", safeguard);
  return Object.freeze<BudgetAllocator>({
    name: "global-top",
    needs: [],
    keepsAllAtRatio1: true,
    resolve(request) {
      // Refuses what an even split could not reach either.
      evenShare(request, true);
      const { target, lengths, nextPosition, layout, protect } = request;
      const size = scope === "layer" ? layout.shape.numKvHeads : lengths.length;
      const mustStay = Math.max(1, protect.sinks + protect.recent);
      let tokens = 0;
      for (let first = 0; first < lengths.length; first += size) {
        const own = lengths.subarray(first, first + size);
        const least = own.map((length) => Math.min(length, mustStay));
        tokens += scopeTokens(target, { nextPosition, layout, lengths: own, least });
      }
      return tokens;
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(globalTopCounts, { batch, target, scores, scope, safeguard, counts }),
  });
}
