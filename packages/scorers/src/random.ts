import { checkWholeNumber, type Scorer } from "@kvcache/core";
import { randomScore } from "@kvcache/kernels";

export interface RandomOptions {
  /** Same seed, same scores. Default 0. */
  readonly seed?: number;
}

/**
 * Chance, as kvpress draws it: MT19937, the same in every layer, different between KV heads.
 * Throws `invalid-argument` when the seed is no whole number of 0 or more.
 */
export function random({ seed = 0 }: RandomOptions = {}): Scorer {
  checkWholeNumber("seed", seed, 0);
  return Object.freeze<Scorer>({
    name: "random",
    options: { seed },
    needs: [],
    score: (encoder, batch, out) => encoder.run(randomScore, { batch, seed, out }),
  });
}
