import {
  type BudgetAllocator,
  type BudgetTarget,
  type CacheLayout,
  checkFraction,
  checkOneOf,
  checkProfile,
  type HeadProfile,
  type Protect,
  profileArray,
  targetTokens,
} from "@kvcache/core";
import {
  evenShare,
  lowestHeads,
  rowCounts,
  streamingHeads as streamingHeadsOf,
} from "@kvcache/kernels";

export * from "./published-pattern.ts";

export interface DuoAttentionBudgetOptions {
  /** Of kind duo-attention: array headScores [numLayers, numKvHeads]. Without it no plan is accepted. */
  readonly profile?: HeadProfile | null;
  /**
   * Part of all heads that stream, in [0, 1]: plans then take no target but { ratio: 1 }. null
   * (default) takes as many as the target needs.
   */
  readonly streamingHeads?: number | null;
  /** Exactly that part, lowest scores first (default), or all below the quantile. */
  readonly rule?: "lowest" | "quantile";
}

/**
 * DuoAttention — streaming heads keep a window, retrieval heads everything.
 * A profile of the model ranks its KV heads by how much they retrieve; those at the bottom keep the
 * protected tokens only.
 * Xiao et al. 2024, arXiv:2410.10819. Differs from the paper: the number of streaming heads can follow
 * from a target.
 */
export function duoAttention(options: DuoAttentionBudgetOptions = {}): BudgetAllocator {
  const { profile = null, streamingHeads = null, rule = "lowest" } = options;
  checkOneOf("rule", rule, ["lowest", "quantile"]);
  if (streamingHeads !== null) checkFraction("streamingHeads", streamingHeads);
  const headScores =
    profile && profileArray(profile, "duo-attention", "headScores", ["numLayers", "numKvHeads"]);

  /** Tokens of every head of a sequence, [numLayers × numKvHeads]. */
  function tokensOf(
    target: BudgetTarget,
    nextPosition: number,
    layout: CacheLayout,
    { sinks, recent }: Protect,
  ): Uint32Array {
    checkProfile("duo-attention", profile, layout.shape);
    const window = sinks + recent;
    const scores = headScores!;
    const heads = scores.length;
    // Every head that streams saves as much.
    const missing = heads * (nextPosition - targetTokens(target, nextPosition, layout));
    const needed = Math.ceil(Math.max(0, missing) / Math.max(1, nextPosition - window));
    const streaming =
      streamingHeads === null
        ? lowestHeads(scores, needed)
        : streamingHeadsOf(scores, streamingHeads, rule);
    return Uint32Array.from(streaming, (streams) => (streams ? window : nextPosition));
  }

  return Object.freeze<BudgetAllocator>({
    name: "duo-attention",
    needs: [],
    ...(streamingHeads !== null && {
      withoutTarget: "its option streamingHeads decides how much stays",
    }),
    checkShape: (shape, fingerprint) => checkProfile("duo-attention", profile, shape, fingerprint),
    resolve(request) {
      // Refuses what cannot be reached; a target that is not looked at has to be one, too.
      evenShare(request, streamingHeads === null);
      const { target, lengths, nextPosition, layout, protect } = request;
      const wanted = tokensOf(target, nextPosition, layout, protect);
      return lengths.reduce(
        (total, length, row) => total + Math.min(length, Math.max(1, wanted[row]!)),
        0,
      );
    },
    allocate(encoder, { batch, target }, counts) {
      const { layout, protect, nextPositions } = batch;
      const all = nextPositions.map((next) => tokensOf(target, next, layout, protect));
      const wanted = encoder.upload(Uint32Array.from(all.flatMap((rows) => [...rows])));
      encoder.run(rowCounts, { batch, wanted, counts });
    },
  });
}
