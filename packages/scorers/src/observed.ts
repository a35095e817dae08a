import { type KvBatch, KvCacheError, type Observer } from "@kvcache/core";

/**
 * What a scorer's observer gathered of a sequence of the batch. Throws `missing-signal` where
 * nobody observed it.
 */
export function observed<O extends Observer>(
  batch: KvBatch,
  sequenceIndex: number,
  isOurs: (observer: Observer) => observer is O,
): O {
  const observer = batch.observers?.[sequenceIndex];
  if (observer && isOurs(observer)) return observer;
  throw new KvCacheError(
    "missing-signal",
    `Nothing was observed of sequence ${batch.sequences[sequenceIndex]}.`,
    {
      value: batch.sequences[sequenceIndex],
      remedy: "Run the sequence's forward passes under the policy that scores it.",
    },
  );
}
