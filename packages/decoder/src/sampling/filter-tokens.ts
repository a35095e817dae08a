import { kthLargest } from "./kth-largest.ts";
import { massThreshold } from "./mass-threshold.ts";
import type { SamplingParams } from "./sampling-params.ts";

/** The tokens that survived the filters, with weights in proportion to their probabilities. */
export interface KeptTokens {
  /** Ascending. */
  readonly ids: Int32Array;
  /** exp(score - best score), one for each id. */
  readonly weights: Float64Array;
  /** Sum of the weights. */
  readonly total: number;
}

/**
 * Scores [vocabSize], which are logits over temperature, to the tokens that may be drawn: top-k,
 * then top-p over what top-k left, then min-p over what top-p left. Tokens that tie with the k-th
 * all stay, the best token always does, a score of -Infinity never.
 */
export function filterTokens(
  scores: Float32Array,
  best: number,
  { topK = 0, topP = 1, minP = 0 }: SamplingParams,
): KeptTokens {
  const limit = topK > 0 && topK < scores.length ? kthLargest(scores, topK) : -Infinity;
  const kept = atLeast(scores, best, limit);
  const probable = topP < 1 ? nucleus(kept, topP) : kept;
  return minP > 0 ? atLeastWeight(probable, minP) : probable;
}

function atLeast(scores: Float32Array, best: number, limit: number): KeptTokens {
  const ids = new Int32Array(scores.length);
  let count = 0;
  for (let id = 0; id < scores.length; id++) {
    if (scores[id]! >= limit && scores[id]! > -Infinity) ids[count++] = id;
  }
  const weights = new Float64Array(count);
  let total = 0;
  for (let i = 0; i < count; i++) total += weights[i] = Math.exp(scores[ids[i]!]! - best);
  return { ids: ids.subarray(0, count), weights, total };
}

function atLeastWeight({ ids, weights }: KeptTokens, limit: number): KeptTokens {
  const members: number[] = [];
  for (let i = 0; i < ids.length; i++) if (weights[i]! >= limit) members.push(i);
  return pick(ids, weights, members);
}

function pick(ids: Int32Array, weights: Float64Array, members: readonly number[]): KeptTokens {
  const picked = { ids: new Int32Array(members.length), weights: new Float64Array(members.length) };
  let total = 0;
  members.forEach((member, i) => {
    picked.ids[i] = ids[member]!;
    total += picked.weights[i] = weights[member]!;
  });
  return { ...picked, total };
}

/** The smallest set of most probable tokens whose mass reaches `topP`; of equals the lowest ids. */
function nucleus({ ids, weights, total }: KeptTokens, topP: number): KeptTokens {
  const { weight: limit, equals } = massThreshold(weights, topP * total);
  const members: number[] = [];
  let left = equals;
  for (let i = 0; i < ids.length; i++) {
    if (weights[i]! > limit || (weights[i]! === limit && left-- > 0)) members.push(i);
  }
  return pick(ids, weights, members);
}
