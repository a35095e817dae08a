/** Σ −log p of `targets`, target i predicted by row i of `logits` [≥ targets.length, vocabSize]. */
export function negativeLogLikelihood(
  logits: Float32Array,
  targets: readonly number[],
  vocabSize: number,
): number {
  let sum = 0;
  targets.forEach((target, i) => {
    sum -= logProbability(logits.subarray(i * vocabSize, (i + 1) * vocabSize), target);
  });
  return sum;
}

/** log softmax(logits)[index], in float64. */
function logProbability(logits: Float32Array, index: number): number {
  let most = Number.NEGATIVE_INFINITY;
  for (const logit of logits) if (logit > most) most = logit;
  let total = 0;
  for (const logit of logits) total += Math.exp(logit - most);
  return logits[index]! - most - Math.log(total);
}

/** Index of the largest logit, the lowest of equal ones. */
export function argmax(logits: Float32Array): number {
  let best = 0;
  for (let i = 1; i < logits.length; i++) if (logits[i]! > logits[best]!) best = i;
  return best;
}
