import { type BudgetAllocator, sum } from "@kvcache/core";
import { evenShare, levelCounts, rowTokens } from "@kvcache/kernels";

/**
 * HeatKV — drop whole stretches of context from the heads that read them least.
 * Over scores that are alike within a stretch: one threshold for all heads and layers, the lowest that
 * the target allows, so that a head loses one stretch and keeps another.
 * HeatKV 2026, arXiv:2605.14877. Differs from the paper: text instead of image scales, so stretches by
 * distance from the end; rows of different length share one total; a ratio below the protected
 * tokens keeps those.
 */
export const heatKV = (): BudgetAllocator =>
  Object.freeze<BudgetAllocator>({
    name: "heat-kv",
    needs: [],
    resolve(request) {
      const { target, lengths, nextPosition, layout, protect } = request;
      // Refuses what the protected tokens alone exceed.
      evenShare(request, true);
      const window = Math.max(1, protect.sinks + protect.recent);
      const least = sum(lengths.map((length) => Math.min(length, window)));
      const shared = Math.floor(lengths.length * rowTokens(target, nextPosition, layout));
      return Math.min(sum(lengths), Math.max(least, shared));
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(levelCounts, { batch, target, scores, counts }),
  });
