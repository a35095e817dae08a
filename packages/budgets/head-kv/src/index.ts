import {
  type BudgetAllocator,
  type BudgetTarget,
  type CacheLayout,
  checkProfile,
  type HeadProfile,
  KvCacheError,
  type Protect,
  profileArray,
  targetTokens,
} from "@kvcache/core";
import { evenShare, headCapacities, rowCounts } from "@kvcache/kernels";

export * from "./published-scores.ts";

export interface HeadKVBudgetOptions {
  /** Of kind head-kv: array headScores [numLayers, numQueryHeads]. Without it no plan is accepted. */
  readonly profile?: HeadProfile | null;
  /** About 1 / beta of the budget goes by the profile, the rest evenly; at least 1. Default 1.01. */
  readonly beta?: number;
  /** Exponent on the profile's scores. Default 1. */
  readonly temperature?: number;
}

/**
 * HeadKV — tokens by how well a head retrieves and reasons.
 * Every head has a small even budget; the rest is one pool over all layers, shared by a profile that
 * was made once for the model. Protected tokens come on top.
 * Fu et al. 2024, arXiv:2410.19258. Differs from the paper: a KV head gets the mean of what its query
 * heads would (as KVCache-Factory); what short rows cannot use is not passed on.
 */
export function headKV(options: HeadKVBudgetOptions = {}): BudgetAllocator {
  const { profile = null, beta = 1.01, temperature = 1 } = options;
  for (const [name, value, least] of [
    ["beta", beta, 1],
    ["temperature", temperature, 0],
  ] as const)
    if (!(value >= least && Number.isFinite(value)))
      throw new KvCacheError(
        "invalid-argument",
        `${name} must be at least ${least}, got ${value}.`,
        {
          value,
        },
      );
  const headScores =
    profile && profileArray(profile, "head-kv", "headScores", ["numLayers", "numQueryHeads"]);
  if (headScores?.some((score) => score < 0))
    throw new KvCacheError("invalid-file", "The profile's headScores hold a negative score.");

  /** Tokens of every KV head of a sequence, [numLayers × numKvHeads]. */
  function capacities(
    target: BudgetTarget,
    nextPosition: number,
    layout: CacheLayout,
    { sinks, recent }: Protect,
  ): Uint32Array {
    checkProfile("head-kv", profile, layout.shape);
    const tokens = targetTokens(target, nextPosition, layout);
    const rows = layout.shape.numLayers * layout.shape.numKvHeads;
    if (tokens >= nextPosition) return new Uint32Array(rows).fill(nextPosition);
    const window = sinks + recent;
    const { shape } = layout;
    return headCapacities({ shape, headScores: headScores!, tokens, window, beta, temperature });
  }

  return Object.freeze<BudgetAllocator>({
    name: "head-kv",
    needs: [],
    checkShape: (shape, fingerprint) => checkProfile("head-kv", profile, shape, fingerprint),
    resolve(request) {
      // Refuses what the mean itself cannot reach.
      evenShare(request, true);
      const { target, lengths, nextPosition, layout, protect } = request;
      const wanted = capacities(target, nextPosition, layout, protect);
      return lengths.reduce(
        (total, length, row) => total + Math.min(length, Math.max(1, wanted[row]!)),
        0,
      );
    },
    allocate(encoder, { batch, target }, counts) {
      const { layout, protect, nextPositions } = batch;
      const all = nextPositions.map((next) => capacities(target, next, layout, protect));
      const wanted = encoder.upload(Uint32Array.from(all.flatMap((rows) => [...rows])));
      encoder.run(rowCounts, { batch, wanted, counts });
    },
  });
}
