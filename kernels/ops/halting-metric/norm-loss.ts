/** What a layer's norm has lost after its cheapest tokens went. */
export interface NormLoss {
  /** Mean over heads of the norm over all candidates. */
  readonly baseline: number;
  /** Part of the baseline that is lost after c candidates of every head went, c = 0 … fewest − 1. */
  readonly losses: Float64Array;
}

/**
 * From the weights of each head's candidates in the order in which they go, one array a head. A head
 * with more candidates than another keeps its dearest.
 */
export function normLoss(heads: readonly Float64Array[]): NormLoss {
  const fewest = Math.min(...heads.map((weights) => weights.length));
  const norms = new Float64Array(fewest);
  for (const weights of heads) {
    let squares = 0;
    for (let c = weights.length - 1; c >= 0; c--) {
      squares += weights[c]! * weights[c]!;
      if (c < fewest) norms[c] = norms[c]! + Math.sqrt(squares) / heads.length;
    }
  }
  const baseline = norms[0] ?? 0;
  return { baseline, losses: norms.map((norm) => (baseline - norm) / baseline) };
}

/** The most candidates that can go while the loss stays within the threshold; one stays. */
export function candidatesToEvict({ losses }: NormLoss, threshold: number): number {
  let evicted = 0;
  // A baseline of 0 makes losses NaN, which are within nothing.
  for (let c = 0; c < losses.length && losses[c]! <= threshold; c++) evicted = c;
  return evicted;
}
