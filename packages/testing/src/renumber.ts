import type { EvictionPolicy, SequenceSlot } from "@kvcache/core";
import type { PagedCache } from "@kvcache/paged";

/** After an event: sequences go on where a transform that moved the kept entries says. */
export function renumber(
  { cache, sequences }: { readonly cache: PagedCache; readonly sequences: readonly SequenceSlot[] },
  { transform }: EvictionPolicy,
): void {
  if (!transform?.nextPosition) return;
  for (const sequence of sequences) {
    const { lengths, nextPosition } = cache.sequenceStats(sequence);
    cache.host.nextPositions[sequence] = transform.nextPosition(Math.max(...lengths), nextPosition);
  }
}
