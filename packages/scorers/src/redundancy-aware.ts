import { checkFraction, defineKernel, hostArray, type Scorer, type Tensor } from "@kvcache/core";
import { keyRedundancy as keyRedundancyKernel } from "@kvcache/kernels";
import { type WindowImportanceOptions, windowImportance } from "./window-importance.ts";

export interface RedundancyAwareOptions extends WindowImportanceOptions {
  /** Weight of importance against redundancy, in [0, 1]. Default 0.07. */
  readonly lambda?: number;
  /** Keys of a larger cosine look alike. Default 0.5. */
  readonly similarityThreshold?: number;
}

/**
 * λ × importance to the last queries − (1 − λ) × likeness to other keys: what the model still looks
 * at and does not hold twice. Cai et al. 2025, arXiv:2505.24133 (R-KV). Throws `invalid-argument`
 * naming the option that is out of range.
 */
export function redundancyAware(options: RedundancyAwareOptions): Scorer {
  const { lambda = 0.07, similarityThreshold = 0.5, ...observed } = options;
  checkFraction("lambda", lambda);
  const importance = windowImportance(observed);
  const redundancy = keyRedundancy({ similarityThreshold });
  return Object.freeze<Scorer>({
    name: "redundancy-aware",
    options: { ...importance.options, lambda, similarityThreshold },
    needs: importance.needs,
    score(encoder, batch, out) {
      const redundant = encoder.tensor("f32", batch.totalSlots);
      importance.score(encoder, batch, out);
      redundancy.score(encoder, batch, redundant);
      encoder.run(blend, { lambda, redundant, out });
    },
  });
}

/** How much each key looks like others of its row, softmax over the row; looks at no query. */
export function keyRedundancy({ similarityThreshold = 0.5 } = {}): Scorer {
  checkFraction("similarityThreshold", similarityThreshold);
  return Object.freeze<Scorer>({
    name: "key-redundancy",
    options: { similarityThreshold },
    needs: [],
    score: (encoder, batch, out) =>
      encoder.run(keyRedundancyKernel, { batch, out, threshold: similarityThreshold }),
  });
}

const blend = defineKernel<{
  readonly lambda: number;
  readonly redundant: Tensor;
  readonly out: Tensor;
}>({
  name: "blend",
  reference({ lambda, redundant, out }) {
    const scores = hostArray(out, "f32");
    hostArray(redundant, "f32").forEach((value, i) => {
      scores[i] = lambda * scores[i]! - (1 - lambda) * value;
    });
  },
});
