import { checkWholeNumber, type Scorer } from "@kvcache/core";
import { lagRank as lagRankKernel } from "@kvcache/kernels";

export interface LagRankOptions {
  /** Positions before the first partition. Default 16. */
  readonly sinks?: number;
  /** Positions of a partition. Default 1024. */
  readonly lag?: number;
}

/**
 * The place of a token within its partition, which is fixed by position: 0 for the one that spreads
 * most against the tokens that follow, then −1, −2 …; +∞ for what is not compared yet. For budgets
 * that cut partitions down one by one as a sequence grows. Throws `invalid-argument` naming the
 * option that is out of range. Liang et al. 2025, arXiv:2504.04704.
 */
export function lagRank({ sinks = 16, lag = 1024 }: LagRankOptions = {}): Scorer {
  checkWholeNumber("sinks", sinks, 0);
  checkWholeNumber("lag", lag, 1);
  return Object.freeze<Scorer>({
    name: "lag-rank",
    options: { sinks, lag },
    needs: [],
    score: (encoder, batch, out) => encoder.run(lagRankKernel, { batch, sinks, lag, out }),
  });
}
