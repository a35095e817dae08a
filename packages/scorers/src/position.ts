import type { Scorer } from "@kvcache/core";
import { positionScore } from "@kvcache/kernels";

/** The token's position: later = keep. With protected sinks this is a sliding window. */
export const position = (): Scorer =>
  Object.freeze<Scorer>({
    name: "position",
    needs: [],
    score: (encoder, batch, out) => encoder.run(positionScore, { batch, out }),
  });
