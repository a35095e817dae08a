import type { Scorer } from "@kvcache/core";
import { keyDiff as keyDiffKernel } from "@kvcache/kernels";

/**
 * Minus the cosine between a key and the mean direction of its row's keys: keys that stand apart
 * stay. Looks at no query. Park et al. 2025, arXiv:2504.15364.
 */
export const keyDiff = (): Scorer =>
  Object.freeze<Scorer>({
    name: "key-diff",
    needs: [],
    score: (encoder, batch, out) => encoder.run(keyDiffKernel, { batch, out }),
  });
