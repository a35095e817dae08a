import { checkOneOf, checkWholeNumber, type Scorer } from "@kvcache/core";
import { type Pooling, windowImportance as windowImportanceKernel } from "@kvcache/kernels";

export interface WindowImportanceOptions {
  /** Last queries observed. */
  readonly window: number;
  /** Smoothing along the positions; none when absent. */
  readonly pooling?: Pooling | undefined;
  /** Over the logits of the query heads of a KV head. Default max. */
  readonly groupReduce?: "max" | "mean";
}

/**
 * Attention that the last queries would pay if the tokens before them were all there is: the group is
 * reduced on the logits, softmax over the keys before the window, mean over queries, then pooled. The
 * window's own tokens score 0. Cai et al. 2025, arXiv:2505.24133 (R-KV). Throws `invalid-argument`
 * naming the option that is out of range.
 */
export function windowImportance(options: WindowImportanceOptions): Scorer {
  const { window, pooling, groupReduce = "max" } = options;
  checkWholeNumber("window", window, 1);
  checkOneOf("groupReduce", groupReduce, ["max", "mean"]);
  return Object.freeze<Scorer>({
    name: "window-importance",
    options: { window, pooling, groupReduce },
    needs: [{ kind: "windowQueries", window }],
    score: (encoder, batch, out) =>
      encoder.run(windowImportanceKernel, { batch, window, pooling, groupReduce, out }),
  });
}
