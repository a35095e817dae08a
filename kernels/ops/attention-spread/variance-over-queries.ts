import type { ObservedRow } from "../../src/window-weights.ts";

/**
 * Mean and unbiased variance of the attention that a window's queries pay to each token before it,
 * [eligible] each. One query has no variance.
 */
export function varianceOverQueries(
  weights: Float64Array,
  { eligible, length, numQueries }: Pick<ObservedRow, "eligible" | "length" | "numQueries">,
): { readonly means: Float64Array; readonly variances: Float64Array } {
  const means = new Float64Array(eligible);
  const variances = new Float64Array(eligible);
  for (let i = 0; i < numQueries; i++)
    for (let j = 0; j < eligible; j++) means[j] = means[j]! + weights[i * length + j]! / numQueries;
  if (numQueries < 2) return { means, variances };
  for (let i = 0; i < numQueries; i++)
    for (let j = 0; j < eligible; j++) {
      const deviation = weights[i * length + j]! - means[j]!;
      variances[j] = variances[j]! + (deviation * deviation) / (numQueries - 1);
    }
  return { means, variances };
}
