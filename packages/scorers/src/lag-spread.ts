import { checkOneOf, checkWholeNumber, type Scorer } from "@kvcache/core";
import { lagSpread as lagSpreadKernel } from "@kvcache/kernels";

export interface LagSpreadOptions {
  /** First tokens of a row that no partition holds. Default 4. */
  readonly sinks?: number;
  /** Tokens of a partition. Default 128. */
  readonly lag?: number;
  /** Scores compete across partitions, not ranks within them. Default false. */
  readonly crossScoring?: boolean;
}

/**
 * How far a token's key and value spread against the tokens that follow it, partition by partition.
 * The last whole partition and what is behind it stay first. Looks at no query. Throws
 * `invalid-argument` naming the option that is out of range. Liang et al. 2025, arXiv:2504.04704.
 */
export function lagSpread(given: LagSpreadOptions = {}): Scorer {
  const options = { sinks: 4, lag: 128, crossScoring: false, ...given };
  checkWholeNumber("sinks", options.sinks, 0);
  checkWholeNumber("lag", options.lag, 1);
  checkOneOf("crossScoring", options.crossScoring, [true, false]);
  return Object.freeze<Scorer>({
    name: "lag-spread",
    options,
    needs: [],
    score: (encoder, batch, out) => encoder.run(lagSpreadKernel, { ...options, batch, out }),
  });
}
