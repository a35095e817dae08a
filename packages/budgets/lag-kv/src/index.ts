import {
  type BudgetAllocator,
  type BudgetTarget,
  type CacheLayout,
  checkWholeNumber,
  targetTokens,
} from "@kvcache/core";
import { evenShare, lagCounts } from "@kvcache/kernels";

export interface LagKVBudgetOptions {
  /** Positions before the first partition. Default 16. */
  readonly sinks?: number;
  /** Positions of a partition. Default 1024. */
  readonly lag?: number;
}

/**
 * LagKV — as many tokens of every partition that has passed.
 * Over scores that are places within partitions: each keeps the target's share of its positions; the
 * first tokens, the last whole partition and what is behind it stay on top.
 * Liang et al. 2025, arXiv:2504.04704. Differs from the paper: none; a target in tokens or bytes stands
 * for its share of the sequence's length.
 */
export function lagKV({ sinks = 16, lag = 1024 }: LagKVBudgetOptions = {}): BudgetAllocator {
  checkWholeNumber("sinks", sinks, 0);
  checkWholeNumber("lag", lag, 1);

  const shareOf = (target: BudgetTarget, nextPosition: number, layout: CacheLayout) => {
    const ratio =
      "ratio" in target ? target.ratio : targetTokens(target, nextPosition, layout) / nextPosition;
    return Math.trunc(Math.min(1, ratio) * lag);
  };

  return Object.freeze<BudgetAllocator>({
    name: "lag-kv",
    needs: [],
    resolve(request) {
      // Refuses what no row can be cut down to.
      evenShare(request, true);
      const { target, lengths, nextPosition, layout, protect } = request;
      const passed = Math.max(0, Math.floor((nextPosition - sinks) / lag) - 1);
      const saved = passed * (lag - shareOf(target, nextPosition, layout));
      const kept = Math.max(1, nextPosition - saved + protect.sinks + protect.recent);
      return lengths.reduce((total, length) => total + Math.min(length, kept), 0);
    },
    allocate(encoder, { batch, target, scores }, counts) {
      const perPartition = batch.nextPositions.map((next) => shareOf(target, next, batch.layout));
      encoder.run(lagCounts, { batch, scores, perPartition, counts });
    },
  });
}
