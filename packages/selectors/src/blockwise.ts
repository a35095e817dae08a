import { checkWholeNumber, type Scorer, type Selector } from "@kvcache/core";
import { keyDiffSet, type OpenKeySet, selectBlockwise } from "@kvcache/kernels";
import { recordRows } from "./record-rows.ts";

export interface BlockwiseOptions {
  /** Scores what is kept so far together with the next block. */
  readonly scorer: Scorer;
  /** Tokens that are taken in at a time. */
  readonly block: number;
}

/** Scorers, by name, whose scores can follow a set of keys that changes: many times faster. */
const keySets: Readonly<Record<string, OpenKeySet>> = { "key-diff": keyDiffSet };

/**
 * Selects as if tokens came block by block and no more than the budget and a block were ever held.
 * It runs where the cache lives in host memory. Throws `invalid-argument` unless block ≥ 1.
 */
export function blockwise({ scorer, block }: BlockwiseOptions): Selector {
  checkWholeNumber("block", block, 1);
  const keySet = Object.hasOwn(keySets, scorer.name) ? keySets[scorer.name] : undefined;
  return Object.freeze<Selector>({
    name: "blockwise",
    select: (encoder, batch, scores, counts) =>
      recordRows(encoder, batch, counts, (keep) =>
        encoder.run(selectBlockwise, { batch, scorer, scores, counts, block, keySet, ...keep }),
      ),
  });
}
