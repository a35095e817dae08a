import { type BudgetAllocator, checkOneOf, checkWholeNumber, sum } from "@kvcache/core";
import { compositeCounts, compositeTokens, evenShare } from "@kvcache/kernels";

export interface KvComposeBudgetOptions {
  /** The heads of a layer keep equally many tokens (default), or each what its scores are worth. */
  readonly structured?: boolean;
  /** How a composite token is scored from its heads. Default mean. */
  readonly aggregateHeads?: "max" | "mean";
  /** Tokens that every head keeps at least. Default 0. */
  readonly minimumTokens?: number;
}

/**
 * KVCompose — layers share one total by the scores of their composite tokens.
 * The k-th composite of a layer stands for the k-th best token of each head; the best composites of
 * all layers decide how many tokens each layer's heads keep, all of them equally many.
 * Akulov et al. 2025, arXiv:2509.05165. Differs from the paper: every head keeps at least one token.
 */
export function kvCompose(options: KvComposeBudgetOptions = {}): BudgetAllocator {
  const { structured = true, aggregateHeads = "mean", minimumTokens = 0 } = options;
  checkOneOf("aggregateHeads", aggregateHeads, ["max", "mean"]);
  checkWholeNumber("minimumTokens", minimumTokens, 0);
  return Object.freeze<BudgetAllocator>({
    name: "kv-compose",
    needs: [],
    resolve(request) {
      const { target, lengths, nextPosition, layout, protect } = request;
      // Throws for targets below one token, or below what is protected.
      evenShare(request, true);
      const heads = layout.shape.numKvHeads;
      const lists = structured ? lengths.length / heads : lengths.length;
      const shared = compositeTokens(target, nextPosition, lists, layout);
      const least = lengths.length * Math.max(1, minimumTokens, protect.sinks + protect.recent);
      return Math.min(sum(lengths), shared * (structured ? heads : 1) + least);
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(compositeCounts, {
        batch,
        target,
        scores,
        structured,
        aggregateHeads,
        minimumTokens,
        counts,
      }),
  });
}
