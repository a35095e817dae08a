import { checkFraction, type Selector } from "@kvcache/core";
import { raiseRecent, recordTopK } from "@kvcache/kernels";

export interface RecentAndTopKOptions {
  /** Part of each row's tokens that is kept for being the last, rounded down. */
  readonly share: number;
}

/**
 * Keeps the last tokens of every row, a fixed share of what it keeps, and of the others those with
 * the highest scores. Throws `invalid-argument` when the share is not in [0, 1].
 */
export function recentAndTopK({ share }: RecentAndTopKOptions): Selector {
  checkFraction("share", share);
  return Object.freeze<Selector>({
    name: "recent-and-top-k",
    select(encoder, batch, scores, counts) {
      const raised = encoder.tensor("f32", batch.totalSlots);
      encoder.run(raiseRecent, { batch, scores, counts, share, out: raised });
      return recordTopK(encoder, batch, raised, counts);
    },
  });
}
