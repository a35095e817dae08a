import { checkWholeNumber, type Scorer, type Selector } from "@kvcache/core";
import { selectBlockwise } from "@kvcache/kernels";
import { recordRows } from "./record-rows.ts";

export interface BlockwiseOptions {
  /** Scores what is kept so far together with the next block. */
  readonly scorer: Scorer;
  /** Tokens that are taken in at a time. */
  readonly block: number;
}

/**
 * Selects as if tokens came block by block and no more than the budget and a block were ever held.
 * It runs where the cache lives in host memory. Throws `invalid-argument` unless block ≥ 1.
 */
export function blockwise({ scorer, block }: BlockwiseOptions): Selector {
  checkWholeNumber("block", block, 1);
  return Object.freeze<Selector>({
    name: "blockwise",
    select: (encoder, batch, scores, counts) =>
      recordRows(encoder, batch, counts, (keep) =>
        encoder.run(selectBlockwise, { batch, scorer, scores, counts, block, ...keep }),
      ),
  });
}
