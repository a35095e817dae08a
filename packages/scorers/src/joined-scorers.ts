import type { CacheLayout, KvBatch, Observer, Scorer, Signal } from "@kvcache/core";

/** Several scorers behind one: what they need together, and each one's view of a batch. */
export interface JoinedScorers {
  readonly needs: readonly Signal[];
  readonly createObserver?: (layout: CacheLayout) => Observer;
  readonly checkShape: NonNullable<Scorer["checkShape"]>;
  /** The batch with the observers of scorer `index`. */
  viewOf(batch: KvBatch, index: number): KvBatch;
}

type Parts = readonly (Observer | undefined)[];
interface JoinedObserver extends Observer {
  readonly parts: Parts;
}

/** One observer shows every pass to those of all scorers that gather something. */
export function joinScorers(scorers: readonly Scorer[]): JoinedScorers {
  const viewOf = (batch: KvBatch, index: number): KvBatch => ({
    ...batch,
    observers: batch.sequences.map(
      (_, i) => (batch.observers?.[i] as JoinedObserver | undefined)?.parts[index],
    ),
  });
  const join = (parts: Parts): JoinedObserver => ({
    parts,
    observe: (encoder, observation, batch) =>
      parts.forEach((part, i) => {
        part?.observe?.(encoder, observation, viewOf(batch, i));
      }),
    replay: (encoder, pass, observation, batch) =>
      parts.forEach((part, i) => {
        part?.replay?.(encoder, pass, observation, viewOf(batch, i));
      }),
    truncate: (position) =>
      parts.forEach((part) => {
        part?.truncate(position);
      }),
    fork: () => join(parts.map((part) => part?.fork())),
  });
  return {
    needs: scorers.flatMap((scorer) => scorer.needs),
    ...(scorers.some((scorer) => scorer.createObserver) && {
      createObserver: (layout: CacheLayout) =>
        join(scorers.map((scorer) => scorer.createObserver?.(layout))),
    }),
    checkShape: (shape, fingerprint) =>
      scorers.forEach((scorer) => {
        scorer.checkShape?.(shape, fingerprint);
      }),
    viewOf,
  };
}
