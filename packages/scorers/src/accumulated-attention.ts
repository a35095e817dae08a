import { checkOneOf, checkWholeNumber, type Scorer } from "@kvcache/core";
import { addSums, readSums } from "@kvcache/kernels";

export interface AccumulatedAttentionOptions {
  /** 1 (default) sums attention weights, 2 their squares. */
  readonly power?: 1 | 2;
  /** Queries that count: all (default), or those of decode steps only. */
  readonly phase?: "all" | "decode";
  /** Queries closer than this many positions to a token do not count for it. Default 0. */
  readonly buffer?: number;
  /** When a prompt ends, this scorer's result is added to the sums first. */
  readonly atPrefillEnd?: Scorer;
}

/**
 * Attention that each token has received since it was cached, summed over the query heads of its
 * KV head. The cache carries the sums along, so that they survive compaction and forks.
 * Throws `invalid-argument` naming the option that is out of range.
 */
export function accumulatedAttention(options: AccumulatedAttentionOptions = {}): Scorer {
  const { power = 1, phase = "all", buffer = 0, atPrefillEnd } = options;
  checkOneOf("power", power, [1, 2]);
  checkOneOf("phase", phase, ["all", "decode"]);
  checkWholeNumber("buffer", buffer, 0);
  return Object.freeze<Scorer>({
    name: "accumulated-attention",
    options: {
      power,
      phase,
      buffer,
      ...(atPrefillEnd && { atPrefillEnd: [atPrefillEnd.name, atPrefillEnd.options ?? {}] }),
    },
    needs: [{ kind: "attentionSums", power, phase, buffer }, ...(atPrefillEnd?.needs ?? [])],
    score(encoder, batch, out) {
      if (atPrefillEnd && batch.phase === "prefill") {
        atPrefillEnd.score(encoder, batch, out);
        encoder.run(addSums, { batch, power, values: out });
      }
      encoder.run(readSums, { batch, power, out });
    },
  });
}
