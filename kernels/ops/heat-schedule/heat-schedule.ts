import { KvCacheError, sum } from "@kvcache/core";

export interface HeatSchedule {
  /** Tokens of every scale, in the order in which they are generated; the last is never cached. */
  readonly scaleTokens: readonly number[];
  /** First scales, which every head keeps. */
  readonly sinkScales: number;
  /** Part of the full cache at its largest that may be used. */
  readonly ratio: number;
  /** Heads of all layers. */
  readonly heads: number;
}

/**
 * Heads that hold the sink scales only once scale t is cached, for t = 0 … K − 2, so that the cache
 * never grows beyond its budget. Throws `invalid-plan` where the sink scales alone are larger.
 * HeatKV, arXiv:2605.14877.
 */
export function heatSchedule({ scaleTokens, sinkScales, ratio, heads }: HeatSchedule): number[] {
  const cached = scaleTokens.slice(0, -1);
  const peak = sum(cached);
  const protectedTokens = sum(cached.slice(0, sinkScales));
  const least = protectedTokens / peak;
  if (ratio < least)
    throw new KvCacheError(
      "invalid-plan",
      `A budget of ${ratio} of the cache is below the ${least} that the first ${sinkScales} scales take.`,
      { value: ratio, remedy: `Use at least ${least}, or protect fewer scales.` },
    );
  let tokens = 0;
  return cached.map((scale) => {
    tokens += scale;
    const retained = Math.min(protectedTokens, tokens);
    if (tokens <= ratio * peak) return 0;
    const without = Math.ceil((heads * (tokens - ratio * peak)) / (tokens - retained));
    return Math.min(heads, Math.max(0, without));
  });
}

/** One attention map of a profiling run: weights [layers × heads, queries, tokens so far]. */
export interface ScaleAttention {
  /** Scale of the queries. */
  readonly target: number;
  readonly weights: Float32Array;
}

export interface ScaleMass extends Pick<HeatSchedule, "scaleTokens" | "sinkScales" | "heads"> {
  readonly prompts: number;
  readonly attention: Iterable<ScaleAttention>;
}

/**
 * Attention that every source scale beside the sinks still receives from later ones, per head:
 * [heads, K − 1 − sinkScales]; the mean over queries, target scales and prompts.
 */
export function scaleMass({ scaleTokens, sinkScales, heads, prompts, attention }: ScaleMass) {
  const scales = scaleTokens.length;
  const sources = scales - 1 - sinkScales;
  const mass = new Float64Array(heads * sources);
  const starts = scaleTokens.map((_, scale) => sum(scaleTokens.slice(0, scale)));
  for (const { target, weights } of attention) {
    const queries = scaleTokens[target]!;
    const width = weights.length / (heads * queries);
    for (let source = sinkScales; source < Math.min(target, scales - 1); source++) {
      const [from, to] = [starts[source]!, starts[source + 1]!];
      const share = 1 / (queries * prompts * (scales - source - 1));
      for (let head = 0; head < heads; head++)
        for (let query = 0; query < queries; query++) {
          const row = (head * queries + query) * width;
          let received = 0;
          for (let j = from; j < to; j++) received += weights[row + j]!;
          mass[head * sources + source - sinkScales]! += received * share;
        }
    }
  }
  return mass;
}
