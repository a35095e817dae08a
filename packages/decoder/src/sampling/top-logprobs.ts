/** A token and the natural logarithm of its probability. */
export interface TokenLogprob {
  readonly tokenId: number;
  readonly logprob: number;
}

/**
 * The log-probability of token `id` and of the `k` likeliest tokens (the lower id first among
 * equals), from logits f32 [vocabSize] before any sampling parameter. Softmax in float64.
 */
export function topLogprobs(
  logits: Float32Array,
  id: number,
  k: number,
): { logprob: number; topLogprobs: TokenLogprob[] } {
  let max = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > max) max = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - max);
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
    topLogprobs: best.map((tokenId) => ({ tokenId, logprob: logits[tokenId]! - normalizer })),
  };
}
