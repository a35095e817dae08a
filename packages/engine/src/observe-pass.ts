import type {
  BackendSession,
  BatchOptions,
  CacheManager,
  ModelView,
  Observer,
  SignalKind,
} from "@kvcache/core";
import type { Feed } from "./step-assembler.ts";
import type { Taps } from "./taps.ts";

/** Who looks at a sequence's share of a pass. */
export interface Watched extends Pick<BatchOptions, "protect" | "phase"> {
  /** The scorer's, and the chunk signals that its plan asked for. */
  readonly observer: Observer | undefined;
  readonly signals: ReadonlySet<SignalKind>;
  /** One beside it that sees all signals there are. */
  readonly profiler: Observer | undefined;
}

export interface ObservingTools {
  readonly cache: CacheManager;
  readonly session: BackendSession;
  readonly taps: Taps;
  readonly view: ModelView;
}

/**
 * Shows a pass to whoever watches its feeds, one sequence after the other: what an observer recorded
 * for one is done before the next is shown. Returns what they threw, by index of the feed.
 */
export async function observePass(
  { cache, session, taps, view }: ObservingTools,
  feeds: readonly Feed[],
  values: ReadonlyMap<string, Float32Array>,
): Promise<ReadonlyMap<number, unknown>> {
  const failures = new Map<number, unknown>();
  const numTokens = feeds.reduce((total, { count }) => total + count, 0);
  let begin = 0;
  for (const [index, { slot, ids, from, count, position, watched }] of feeds.entries()) {
    if (watched)
      try {
        const { observer, profiler, protect, phase } = watched;
        const tokenIds = ids.subarray(from, from + count);
        const tokens = { begin, numTokens, start: position, tokenIds };
        const options = { protect, phase, observers: [observer], model: view };
        const batch = cache.batch([slot], options);
        const encoder = session.encoder();
        const show = (one: Observer | undefined, signals: ReadonlySet<SignalKind>) =>
          one?.observe?.(encoder, taps.observation(values, tokens, signals), batch);
        show(observer, watched.signals);
        show(profiler, taps.signals);
        await encoder.submit();
      } catch (error) {
        failures.set(index, error);
      }
    begin += count;
  }
  return failures;
}
