/**
 * Tokens whose hidden states FastKV's token-selective propagation passes on to the layers behind its
 * TSP layer: those of the highest scores summed over KV heads, [numKvHeads, length] with +∞ for the
 * observation window. Returns `count` positions (all, if there are no more), ascending; ties go to
 * the lower position. Jo et al. 2025, arXiv:2502.01068.
 */
export function tspTokens(
  scores: ArrayLike<number>,
  numKvHeads: number,
  count: number,
): Uint32Array {
  const length = scores.length / numKvHeads;
  const sums = Float64Array.from({ length }, (_, token) => {
    let sum = 0;
    for (let head = 0; head < numKvHeads; head++) sum += scores[head * length + token]!;
    return sum;
  });
  const order = [...sums.keys()].sort((a, b) =>
    sums[a] === sums[b] ? a - b : sums[b]! > sums[a]! ? 1 : -1,
  );
  return Uint32Array.from(order.slice(0, count)).sort();
}
