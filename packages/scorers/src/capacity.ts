import { checkWholeNumber, KvCacheError, type Scorer } from "@kvcache/core";
import { capacityScore } from "@kvcache/kernels";
import { observed } from "./observed.ts";
import { hasQueryMoments, queryMomentsObserver } from "./query-moments.ts";

export interface CapacityOptions {
  /** Sharpness of a token's relevance. Default 5. */
  readonly tau?: number;
  /** Positions to come, over which the mean query's rotation is averaged. Default 512. */
  readonly futurePositions?: number;
  /** First tokens: kept, and left out of everything else. Default 4. */
  readonly sinks?: number;
  /** Added to the weights inside the matrix. Default 1e-6. */
  readonly epsilon?: number;
}

/**
 * What each token's value adds to the capacity of the cache, weighted by how well its key agrees
 * with the mean query. arXiv:2604.25975. Throws `invalid-argument` naming the option that is out of
 * range.
 */
export function capacity(options: CapacityOptions = {}): Scorer {
  const { tau = 5, futurePositions = 512, sinks = 4, epsilon = 1e-6 } = options;
  checkWholeNumber("futurePositions", futurePositions, 1);
  checkWholeNumber("sinks", sinks, 0);
  for (const [name, value] of Object.entries({ tau, epsilon }))
    if (!(Number.isFinite(value) && value >= 0))
      throw new KvCacheError("invalid-argument", `${name} must not be negative, got ${value}.`, {
        value,
      });
  const params = { tau, futurePositions, sinks, epsilon };
  return Object.freeze<Scorer>({
    name: "capacity",
    options: params,
    needs: [{ kind: "queryStatistics", skip: sinks }],
    createObserver: (layout) => queryMomentsObserver(layout, { skip: sinks, covariance: false }),
    score(encoder, batch, out) {
      const means = batch.sequences.map(
        (_, i) => observed(batch, i, hasQueryMoments).statistics(encoder).means,
      );
      encoder.run(capacityScore, { ...params, batch, out, means });
    },
  });
}
