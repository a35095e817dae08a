import type { BlockWatcher } from "@kvcache/core";
import type { Metrics, OwnLabels } from "./metrics.ts";

/** One block in so many is watched. */
const SAMPLE = 16;

/**
 * Observes how long blocks of one arena live, and how long they rest in the prefix cache, on a
 * sample of them. `now` gives seconds.
 */
export function watchBlocks(
  metrics: Metrics,
  labels: OwnLabels,
  now = () => performance.now() / 1000,
): BlockWatcher {
  const takenAt = new Map<number, number>();
  const restedAt = new Map<number, number>();
  const sampled = (hear: (block: number, time: number) => void) => (block: number) => {
    if (block % SAMPLE === 0) hear(block, now());
  };
  return {
    taken: sampled((block, time) => takenAt.set(block, time)),
    rested: sampled((block, time) => restedAt.set(block, time)),
    reused: sampled((block, time) => {
      const rested = restedAt.get(block);
      if (rested !== undefined) metrics.blockReuseGap.observe(labels, time - rested);
      restedAt.delete(block);
    }),
    freed: sampled((block, time) => {
      const taken = takenAt.get(block);
      if (taken !== undefined) metrics.blockLifetime.observe(labels, time - taken);
      const rested = restedAt.get(block);
      if (rested !== undefined) metrics.blockIdle.observe(labels, time - rested);
      takenAt.delete(block);
      restedAt.delete(block);
    }),
  };
}
