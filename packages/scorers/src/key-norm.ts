import type { Scorer } from "@kvcache/core";
import { keyNorm as keyNormKernel } from "@kvcache/kernels";

/**
 * Minus the Euclidean norm of the key: keys of small norm attract attention. Looks at no query and
 * is the same before and after RoPE. Devoto et al. 2024, arXiv:2406.11430.
 */
export const keyNorm = (): Scorer =>
  Object.freeze<Scorer>({
    name: "key-norm",
    needs: [],
    score: (encoder, batch, out) => encoder.run(keyNormKernel, { batch, out }),
  });
