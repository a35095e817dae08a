import type { Selector } from "@kvcache/core";
import { headMeans, recordTopK } from "@kvcache/kernels";

/** Keeps the tokens whose mean score over the KV heads of a layer is highest, in all of them. */
export const sharedTopK = (): Selector =>
  Object.freeze<Selector>({
    name: "shared-top-k",
    select(encoder, batch, scores, counts) {
      const means = encoder.tensor("f32", batch.totalSlots);
      encoder.run(headMeans, { batch, scores, out: means });
      return recordTopK(encoder, batch, means, counts);
    },
  });
