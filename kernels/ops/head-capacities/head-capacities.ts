import { groupSize, type KvShape, sum } from "@kvcache/core";
import { roundHalfEven } from "../../src/whole-numbers.ts";

export interface HeadCapacities {
  readonly shape: Pick<KvShape, "numLayers" | "numQueryHeads" | "numKvHeads">;
  /** Importance of every query head, not negative: [numLayers, numQueryHeads]. */
  readonly headScores: Float64Array;
  /** Mean tokens per row, the window included. */
  readonly tokens: number;
  /** Tokens that every row keeps on top of its capacity. */
  readonly window: number;
  /** About 1 / beta of the budget goes by importance, the rest evenly; at least 1. */
  readonly beta: number;
  /** Exponent on the scores: above 1 favours the best heads more. */
  readonly temperature: number;
}

/**
 * Tokens of every KV head, window included, [numLayers × numKvHeads]: an even part for each query
 * head and a share of a common pool by its score, rounded; a KV head gets the mean of its query
 * heads. Fu et al. 2024, arXiv:2410.19258; the mean over the group as in KVCache-Factory.
 */
export function headCapacities(capacities: HeadCapacities): Uint32Array {
  const { shape, headScores, tokens, window, beta, temperature } = capacities;
  const group = groupSize({ ...shape, headDim: 1 });
  const raised = normalised(normalised(headScores).map((score) => score ** temperature));
  const base = Math.max(0, tokens - window);
  const dynamic = Math.floor(base / beta);
  const pool = dynamic * headScores.length;
  const capacity = raised.map((share) => roundHalfEven(share * pool + (base - dynamic)));
  return Uint32Array.from({ length: headScores.length / group }, (_, head) => {
    const own = capacity.subarray(head * group, (head + 1) * group);
    return window + roundHalfEven(sum(own) / group);
  });
}

/** Divided by their sum; all alike where that is 0. */
function normalised(values: Float64Array): Float64Array {
  const total = sum(values);
  return values.map((value) => (total > 0 ? value / total : 1 / values.length));
}
