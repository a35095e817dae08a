import type { Scorer } from "@kvcache/core";
import { valueBound } from "@kvcache/kernels";

/**
 * Another scorer's result times the largest ‖v‖₁ of the row's tokens before the last `window`: an
 * upper bound of what the row can lose, comparable between rows. Shen et al. 2025, arXiv:2509.09754.
 */
export const valueBounded = (scorer: Scorer, window: number): Scorer =>
  Object.freeze<Scorer>({
    ...scorer,
    name: "value-bounded",
    options: { scorer: [scorer.name, scorer.options ?? {}], window },
    score(encoder, batch, out, target) {
      scorer.score(encoder, batch, out, target);
      encoder.run(valueBound, { batch, scores: out, window });
    },
  });
