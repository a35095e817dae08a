import { hostTensor, type KvShape, type Observer, type Scorer } from "@kvcache/core";
import { queryMoments } from "@kvcache/kernels";
import { type CollectorState, restoreInto } from "./collector-state.ts";
import { position } from "./position.ts";
import { type QueryStatisticsFile, queryStatisticsOf } from "./query-statistics-file.ts";

/** Moments of queries over many sequences. */
export interface CollectedQueries {
  /** f32 [numLayers, numQueryHeads, headDim]. */
  readonly means: Float32Array;
  /** Sums of products of deviations, f32 [numLayers, numQueryHeads, headDim, headDim]. */
  readonly deviations: Float32Array;
  /** Queries of each head. */
  readonly count: number;
}

export interface QueryCollector {
  /** Observes every sequence of a policy that has it; its scores are positions. */
  readonly scorer: Scorer;
  /** What was gathered so far. */
  collected(): CollectedQueries;
  state(): CollectorState;
  /** Goes on from what an earlier run gathered. */
  restore(state: CollectorState): void;
}

export interface QueryCollectorOptions {
  /** After RoPE (for Q-Filters) or before it (for Expected Attention). */
  readonly rotated: boolean;
  /** First tokens of each sequence that are left out. Default 4. */
  readonly skip?: number;
}

/** Gathers the queries of calibration texts: run them through an engine under its scorer. */
export function queryCollector(
  shape: KvShape,
  { rotated, skip = 4 }: QueryCollectorOptions,
): QueryCollector {
  const { numLayers, numQueryHeads, headDim } = shape;
  const width = numQueryHeads * headDim;
  const means = new Float32Array(numLayers * width);
  const deviations = new Float32Array(means.length * headDim);
  let count = 0;
  const observer: Observer = {
    observe(_, observation) {
      const from = Math.max(0, skip - observation.start);
      const numRows = observation.tokenIds.length - from;
      if (numRows <= 0) return;
      for (let layer = 0; layer < numLayers; layer++) {
        const all = rotated ? observation.queries(layer) : observation.queriesPreRope(layer);
        const size = width * headDim;
        queryMoments.reference({
          rows: hostTensor(all.subarray(from * width)),
          numRows,
          heads: numQueryHeads,
          before: count,
          means: hostTensor(means.subarray(layer * width, (layer + 1) * width)),
          deviations: hostTensor(deviations.subarray(layer * size, (layer + 1) * size)),
        });
      }
      count += numRows;
    },
    truncate() {},
    fork: () => observer,
  };
  return {
    scorer: Object.freeze<Scorer>({
      ...position(),
      name: "query-collector",
      needs: [rotated ? { kind: "chunkQueries" } : { kind: "queryStatistics", skip }],
      createObserver: () => observer,
    }),
    collected: () => ({ means: means.slice(), deviations: deviations.slice(), count }),
    state: () => ({
      means: means.slice(),
      deviations: deviations.slice(),
      count: Float64Array.of(count),
    }),
    restore(state) {
      restoreInto(means, state, "means");
      restoreInto(deviations, state, "deviations");
      count = state.count?.[0] ?? 0;
    },
  };
}

/** Statistics for Expected Attention: covariances are divided by one less than the queries. */
export const calibrateQueryStatistics = (
  { means, deviations, count }: CollectedQueries,
  { numLayers, numQueryHeads, headDim }: KvShape,
  model = "",
): QueryStatisticsFile =>
  queryStatisticsOf({
    shape: [numLayers, numQueryHeads, headDim],
    means,
    covariances: deviations.map((sum) => sum / Math.max(1, count - 1)),
    model,
  });
