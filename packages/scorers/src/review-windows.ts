import { checkOneOf, checkWholeNumber, groupSize, type KvShape, type Scorer } from "@kvcache/core";
import { leadingLayers, reviewWindows as reviewWindowsKernel, windowSums } from "@kvcache/kernels";

export interface ReviewWindowsOptions {
  /** Last queries that look back at what stands before them. */
  readonly suffix: number;
  /** Tokens of a window. */
  readonly windowSize: number;
  /** Layers that share the scores of the first of them, given the model's shape. */
  readonly groupLayers: (shape: KvShape) => number;
  /** Mean over a window's tokens, or over the best few of each query head. */
  readonly statistic: "average" | "best";
  /** Those few. Default half a window. */
  readonly topTokens?: number;
}

/**
 * Scores of whole windows of consecutive tokens, the same for all heads of a group of layers.
 * Throws `invalid-argument` naming the option that is out of range. Zuo et al. 2025,
 * arXiv:2503.17922.
 */
export function reviewWindows(options: ReviewWindowsOptions): Scorer {
  const { suffix, windowSize, groupLayers, statistic } = options;
  const { topTokens = Math.max(1, windowSize >> 1) } = options;
  checkWholeNumber("suffix", suffix, 1);
  checkWholeNumber("windowSize", windowSize, 1);
  checkWholeNumber("topTokens", topTokens, 1);
  checkOneOf("statistic", statistic, ["average", "best"]);
  return Object.freeze<Scorer>({
    name: "review-windows",
    options: { suffix, windowSize, statistic, topTokens },
    needs: [{ kind: "windowQueries", window: suffix }],
    score(encoder, batch, out) {
      const layers = groupLayers(batch.shape);
      const leaders = leadingLayers(batch, layers);
      const sums = encoder.tensor("f32", leaders.totalSlots * groupSize(batch.shape));
      encoder.run(windowSums, { batch: leaders, window: suffix, out: sums });
      encoder.run(reviewWindowsKernel, {
        batch,
        out,
        leaders,
        sums,
        suffix,
        windowSize,
        groupLayers: layers,
        statistic: statistic === "average" ? statistic : { best: topTokens },
      });
    },
  });
}
