import {
  type CacheLayout,
  type Encoder,
  hostTensor,
  KvCacheError,
  type Observer,
} from "@kvcache/core";
import { type QueryStatistics, queryMoments } from "@kvcache/kernels";
import { type RowTail, rowTail } from "./row-tail.ts";

/** Mean and covariance of a sequence's queries before RoPE. */
export interface QueryMomentsObserver extends Observer {
  /** Records the work that completes them. Throws `missing-signal` before the first query. */
  statistics(encoder: Encoder): QueryStatistics;
}

export const hasQueryMoments = (observer: Observer): observer is QueryMomentsObserver =>
  "statistics" in observer;

export interface QueryMomentsOptions {
  /** First tokens whose queries are left out: they are outliers. */
  readonly skip: number;
  readonly covariance: boolean;
}

interface Moments {
  count: number;
  readonly means: Float32Array;
  readonly deviations: Float32Array | undefined;
}

/** Queries of so many tokens at least stay apart, so that cutting them off is exact. */
const depth = 256;

/**
 * Gathers queries into running moments. A cut deeper than 256 tokens leaves moments of tokens that
 * are gone, so they begin anew there.
 */
export function queryMomentsObserver(
  layout: CacheLayout,
  options: QueryMomentsOptions,
): QueryMomentsObserver {
  const { numLayers, numQueryHeads, headDim } = layout.shape;
  const tail = rowTail(numLayers, numQueryHeads * headDim);
  return observerOf(layout, options, emptyMoments(layout, options), tail);
}

function emptyMoments({ shape }: CacheLayout, { covariance }: QueryMomentsOptions): Moments {
  const size = shape.numLayers * shape.numQueryHeads * shape.headDim;
  return {
    count: 0,
    means: new Float32Array(size),
    deviations: covariance ? new Float32Array(size * shape.headDim) : undefined,
  };
}

const copied = ({ count, means, deviations }: Moments): Moments => ({
  count,
  means: means.slice(),
  deviations: deviations?.slice(),
});

function observerOf(
  layout: CacheLayout,
  options: QueryMomentsOptions,
  moments: Moments,
  tail: RowTail,
): QueryMomentsObserver {
  const { numLayers, numQueryHeads } = layout.shape;
  let folded = moments;

  /** Takes the first `rows` rows of the tail into moments. */
  function fold(encoder: Encoder, into: Moments, rows: number): void {
    const from = Math.min(rows, Math.max(0, options.skip - tail.start));
    for (let layer = 0; layer < numLayers && from < rows; layer++) {
      const share = (all: Float32Array) => {
        const size = all.length / numLayers;
        return hostTensor(all.subarray(layer * size, (layer + 1) * size));
      };
      encoder.run(queryMoments, {
        rows: hostTensor(tail.rows(layer, from, rows)),
        numRows: rows - from,
        heads: numQueryHeads,
        before: into.count,
        means: share(into.means),
        ...(into.deviations && { deviations: share(into.deviations) }),
      });
    }
    into.count += rows - from;
  }

  function truncate(position: number): void {
    if (position < tail.start) folded = emptyMoments(layout, options);
    tail.truncate(position);
  }

  return {
    truncate,
    observe(encoder, observation) {
      const { start, tokenIds } = observation;
      truncate(start);
      tail.append(start, tokenIds.length, (layer) => observation.queriesPreRope(layer));
      const held = tail.end - tail.start;
      if (held < 2 * depth) return;
      fold(encoder, folded, held - depth);
      tail.drop(held - depth);
    },
    statistics(encoder) {
      const all = copied(folded);
      fold(encoder, all, tail.end - tail.start);
      if (all.count === 0)
        throw new KvCacheError("missing-signal", "No query was observed yet.", {
          value: options.skip,
          remedy: `Feed more than the ${options.skip} tokens that are left out.`,
        });
      return { means: all.means, covariances: all.deviations, count: all.count };
    },
    fork: () => observerOf(layout, options, copied(folded), tail.clone()),
  };
}
