import { checkWholeNumber, KvCacheError, type Scorer } from "@kvcache/core";
import { gaussianAttention } from "@kvcache/kernels";
import { observed } from "./observed.ts";
import { hasQueryMoments, queryMomentsObserver } from "./query-moments.ts";
import { checkQueryStatistics, type QueryStatisticsFile } from "./query-statistics-file.ts";

export interface ExpectedAttentionOptions {
  /** Positions to come whose queries are expected. Default 512. */
  readonly futurePositions?: number;
  /** First tokens: kept, and left out of the statistics and of the softmax. Default 4. */
  readonly sinks?: number;
  /** Lets queries vary about their mean. Default true. */
  readonly covariance?: boolean;
  /** Multiplies by the norm of the token's value. Default true. */
  readonly valueNorm?: boolean;
  /** Added before that. Default 0. */
  readonly epsilon?: number;
  /** Statistics from a file, instead of those of the sequence's own queries. */
  readonly statistics?: QueryStatisticsFile | null;
}

/**
 * Attention that queries to come are expected to pay to each token, if they are distributed like
 * those of the prompt, or as a file says. Devoto et al. 2025, arXiv:2510.00636. Throws
 * `invalid-argument` naming the option that is out of range.
 */
export function expectedAttention(options: ExpectedAttentionOptions = {}): Scorer {
  const {
    futurePositions = 512,
    sinks = 4,
    covariance = true,
    valueNorm = true,
    epsilon = 0,
    statistics = null,
  } = options;
  checkWholeNumber("futurePositions", futurePositions, 1);
  checkWholeNumber("sinks", sinks, 0);
  if (!(Number.isFinite(epsilon) && epsilon >= 0))
    throw new KvCacheError("invalid-argument", `epsilon must not be negative, got ${epsilon}.`, {
      value: epsilon,
    });
  const params = { futurePositions, sinks, valueNorm, epsilon };
  const identity = statistics && {
    model: statistics.model,
    fingerprint: statistics.fingerprint,
  };
  const given = statistics && { ...statistics, ...(!covariance && { covariances: undefined }) };
  return Object.freeze<Scorer>({
    name: "gaussian-attention",
    options: { ...params, covariance, statistics: identity },
    needs: given ? [] : [{ kind: "queryStatistics", skip: sinks }],
    ...(statistics
      ? { checkShape: (shape, fingerprint) => checkQueryStatistics(statistics, shape, fingerprint) }
      : {
          createObserver: (layout) => queryMomentsObserver(layout, { skip: sinks, covariance }),
        }),
    score(encoder, batch, out) {
      if (statistics) checkQueryStatistics(statistics, batch.shape);
      const all = batch.sequences.map(
        (_, i) => given ?? observed(batch, i, hasQueryMoments).statistics(encoder),
      );
      encoder.run(gaussianAttention, { ...params, batch, out, statistics: all });
    },
  });
}
