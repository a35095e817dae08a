import type { Transform } from "@kvcache/core";
import { rerotateKeys } from "@kvcache/kernels";

/**
 * Moves what is kept together: keys are rotated to the positions 0 … kept − 1, in their order, and
 * the sequence goes on behind them. Values stay. What another transform does to the kept comes first.
 */
export const keyRerotation = (first?: Transform): Transform =>
  Object.freeze<Transform>({
    name: first ? `${first.name}, key-rerotation` : "key-rerotation",
    apply(encoder, batch, keep, scores) {
      first?.apply(encoder, batch, keep, scores);
      encoder.run(rerotateKeys, { batch, keep });
    },
    nextPosition: (kept) => kept,
  });
