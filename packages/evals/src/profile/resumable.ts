import { KvCacheError } from "@kvcache/core";
import type { PartialState, StateArrays } from "./partial-state.ts";

/** Where the state of long work is kept while it runs. */
export interface PartialStore {
  load(): PartialState | undefined;
  save(state: PartialState): void;
}

export interface ResumableWork<Part> {
  /** Names the work with all that its result depends on. */
  readonly key: string;
  readonly parts: readonly Part[];
  /** Does one part; a part is done whole or not at all. */
  readonly run: (part: Part, index: number) => Promise<void>;
  /** All that the parts so far have left behind, and how it is taken up again. */
  readonly state: () => StateArrays;
  readonly restore: (arrays: StateArrays) => void;
  readonly store?: PartialStore;
  /** Seconds between two savings. Default 20. */
  readonly saveEvery?: number;
  /** Size of a part, for the time left. Default 1. */
  readonly sizeOf?: (part: Part) => number;
  readonly onProgress?: (progress: WorkProgress) => void;
  readonly signal?: AbortSignal;
}

export interface WorkProgress {
  /** Parts done, and all of them. */
  readonly done: number;
  readonly total: number;
  /** Done of the whole, 0 … 1. */
  readonly fraction: number;
  /** At the speed of this run; undefined before there is one. */
  readonly secondsLeft: number | undefined;
}

/**
 * Does the parts of long work in their order, and goes on where an earlier run stopped: the result is
 * the same to the bit. Returns false when `signal` cut it short; what was done is saved. Throws
 * `invalid-file` when the store holds the state of other work.
 */
export async function runResumable<Part>(work: ResumableWork<Part>): Promise<boolean> {
  const { key, parts, run, state, restore, store, saveEvery = 20, sizeOf = () => 1 } = work;
  const earlier = store?.load();
  if (earlier && earlier.key !== key)
    throw new KvCacheError("invalid-file", "The file holds the beginning of other work.", {
      value: earlier.key,
      remedy: "Begin anew (--fresh), or give the options of the run that was cut short.",
    });
  if (earlier) restore(earlier.arrays);
  const first = earlier?.done ?? 0;
  const sizes = parts.map(sizeOf);
  const total = sizes.reduce((a, b) => a + b, 0);
  const before = sizes.slice(0, first).reduce((a, b) => a + b, 0);
  const began = performance.now();
  let finished = before;
  let saved = began;
  for (let index = first; index < parts.length; index++) {
    const now = performance.now();
    const perUnit = finished > before ? (now - began) / (finished - before) / 1000 : undefined;
    work.onProgress?.({
      done: index,
      total: parts.length,
      fraction: finished / total,
      secondsLeft: perUnit && (total - finished) * perUnit,
    });
    if (work.signal?.aborted) {
      store?.save({ key, done: index, arrays: state() });
      return false;
    }
    if (now - saved > saveEvery * 1000) {
      store?.save({ key, done: index, arrays: state() });
      saved = now;
    }
    await run(parts[index]!, index);
    finished += sizes[index]!;
  }
  store?.save({ key, done: parts.length, arrays: state() });
  return true;
}
