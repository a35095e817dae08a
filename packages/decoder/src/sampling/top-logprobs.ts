/** A token and the natural logarithm of its probability. */
export interface TokenLogprob {
  readonly tokenId: number;
  readonly logprob: number;
}

/** What a model thought of a token that came. */
export interface ScoredToken {
  readonly logprob: number;
  /** 1 for the likeliest token. */
  readonly rank: number;
  readonly topLogprobs: readonly TokenLogprob[];
}

/**
 * The log-probability and rank of token `id`, and the `k` likeliest tokens (the lower id first among
 * equals), from logits f32 [vocabSize] before any sampling parameter. Softmax in float64.
 */
export function topLogprobs(logits: Float32Array, id: number, k: number): ScoredToken {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let total = 0;
  let rank = 1;
  for (const logit of logits) {
    total += Math.exp(logit - max);
    if (logit > logits[id]!) rank++;
  }
  const normalizer = max + Math.log(total);

  const best: number[] = [];
  for (let i = 0; i < logits.length && k > 0; i++) {
    if (best.length === k && logits[i]! <= logits[best[k - 1]!]!) continue;
    let at = best.length;
    while (at > 0 && logits[best[at - 1]!]! < logits[i]!) at--;
    best.splice(at, 0, i);
    if (best.length > k) best.pop();
  }
  return {
    logprob: logits[id]! - normalizer,
    rank,
    topLogprobs: best.map((tokenId) => ({ tokenId, logprob: logits[tokenId]! - normalizer })),
  };
}
