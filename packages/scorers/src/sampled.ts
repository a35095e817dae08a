import { checkWholeNumber, KvCacheError, type Scorer } from "@kvcache/core";
import { gumbelScores } from "@kvcache/kernels";

export interface SampledOptions {
  /** Small: close to the scorer's own order; 0: every token with the same chance. Default 1. */
  readonly temperature?: number;
  /** Same seed, same sample. Default 0. */
  readonly seed?: number;
}

/**
 * Another scorer's scores as chances: the highest k are a sample without replacement from the
 * softmax of score / temperature. Throws `invalid-argument` naming the option that is out of range.
 */
export function sampled(
  scorer: Scorer,
  { temperature = 1, seed = 0 }: SampledOptions = {},
): Scorer {
  checkWholeNumber("seed", seed, 0);
  if (!(temperature >= 0 && Number.isFinite(temperature)))
    throw new KvCacheError(
      "invalid-argument",
      `temperature must be 0 or more, got ${temperature}.`,
      {
        value: temperature,
      },
    );
  return Object.freeze<Scorer>({
    ...scorer,
    name: "sampled",
    options: { temperature, seed, scorer: [scorer.name, scorer.options ?? {}] },
    score(encoder, batch, out, target) {
      scorer.score(encoder, batch, out, target);
      encoder.run(gumbelScores, { batch, scores: out, temperature, seed });
    },
  });
}
