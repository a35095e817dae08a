import {
  checkFraction,
  checkOneOf,
  checkWholeNumber,
  groupSize,
  KvCacheError,
  type Scorer,
  type Signal,
} from "@kvcache/core";
import { addSums, averageQueries, readSums, scaleSums, windowScore } from "@kvcache/kernels";

export interface AccumulatedAttentionOptions {
  /** 1 (default) sums attention weights, 2 their squares. */
  readonly power?: 1 | 2;
  /**
   * Where the sums come from. `all` (default): the cache, which adds up while the model runs and
   * carries its sums through compaction and forks. A number: the last so many queries, computed
   * anew; the same result where they are all queries so far, at the price of keeping them.
   */
  readonly queries?: "all" | number;
  /** Queries that the cache counts: all (default), or those of decode steps only. */
  readonly phase?: "all" | "decode";
  /** Queries closer than this many positions to a token do not count for it. Default 0. */
  readonly buffer?: number;
  /** Over the query heads of a KV head; max takes a number of `queries`. Default sum. */
  readonly groupReduce?: "sum" | "mean" | "max";
  /** Divides by the number of queries that could see a token. Default false. */
  readonly average?: boolean;
  /** When a prompt ends, this scorer's result is added to the cache's sums first. */
  readonly atPrefillEnd?: Scorer;
  /** The cache's sums are multiplied by this after they were read. Default 1. */
  readonly decay?: number;
}

/**
 * Attention that each token has received since it was cached. Throws `invalid-argument` naming the
 * option that is out of range, or those that do not go together.
 */
export function accumulatedAttention(given: AccumulatedAttentionOptions = {}): Scorer {
  const options = checked({
    power: 1,
    queries: "all",
    phase: "all",
    buffer: 0,
    groupReduce: "sum",
    average: false,
    decay: 1,
    ...given,
  });
  const { power, queries, phase, buffer, groupReduce, average, decay, atPrefillEnd } = options;
  const recorded: Signal =
    queries === "all"
      ? { kind: "attentionSums", power, phase, buffer }
      : { kind: "windowQueries", window: queries };
  return Object.freeze<Scorer>({
    name: "accumulated-attention",
    options: {
      ...options,
      ...(atPrefillEnd && { atPrefillEnd: [atPrefillEnd.name, atPrefillEnd.options ?? {}] }),
    },
    needs: [recorded, ...(atPrefillEnd?.needs ?? [])],
    score(encoder, batch, out) {
      if (queries !== "all") {
        const window = { window: queries, power, buffer, rowReduce: "sum", groupReduce } as const;
        encoder.run(windowScore, { ...window, batch, out });
        if (average) encoder.run(averageQueries, { batch, values: out, queries });
        return;
      }
      if (atPrefillEnd && batch.phase === "prefill") {
        atPrefillEnd.score(encoder, batch, out);
        encoder.run(addSums, { batch, power, values: out });
      }
      const scale = groupReduce === "mean" ? 1 / groupSize(batch.shape) : 1;
      encoder.run(readSums, { batch, power, scale, out });
      if (average) encoder.run(averageQueries, { batch, values: out });
      if (decay !== 1) encoder.run(scaleSums, { batch, power, factor: decay });
    },
  });
}

type Options = AccumulatedAttentionOptions &
  Required<Omit<AccumulatedAttentionOptions, "atPrefillEnd">>;

function checked(options: Options): Options {
  const { queries, phase, buffer, groupReduce, average, atPrefillEnd } = options;
  checkOneOf("power", options.power, [1, 2]);
  checkOneOf("phase", phase, ["all", "decode"]);
  checkOneOf("groupReduce", groupReduce, ["sum", "mean", "max"]);
  checkWholeNumber("buffer", buffer, 0);
  checkFraction("decay", options.decay);
  if (queries !== "all") checkWholeNumber("queries", queries, 1);
  const apart = (what: string, value: unknown, remedy: string) => {
    throw new KvCacheError("invalid-argument", what, { value, remedy });
  };
  if (queries === "all" && groupReduce === "max")
    apart(
      "The cache sums over query heads; it cannot take their maximum.",
      groupReduce,
      "Give queries a number, or reduce by mean.",
    );
  if (average && (phase === "decode" || buffer > 0))
    apart(
      "Only sums over all queries can be averaged.",
      { phase, buffer },
      "Leave phase and buffer out.",
    );
  if (queries !== "all" && (phase === "decode" || options.decay !== 1 || atPrefillEnd))
    apart(
      "A number of queries leaves no sums in the cache to count from.",
      queries,
      'Use queries: "all".',
    );
  return options;
}
