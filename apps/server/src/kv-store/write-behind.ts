import { setImmediate as yieldToHost } from "node:timers/promises";
import { StoreFullError } from "./block-store.ts";
import type { GuardedStore } from "./guarded-store.ts";

/** Why something was not written, or not used. */
export type Dropped = "queue_full" | "store_full" | "evicted" | "away" | "damaged";

export interface WriteBehindOptions {
  readonly store: GuardedStore;
  /** Most bytes that wait; what comes then is not written. */
  readonly maxBytes: number;
  readonly dropped: (reason: Dropped) => void;
  readonly failed: () => void;
  readonly queued: (bytes: number) => void;
}

/** Writes values later, one at a time, and those only that are not believed to be there. */
export interface WriteBehind {
  /** Takes note of a value of so many bytes; `write` puts it into the store when its turn comes. */
  add(name: string, bytes: number, write: () => Promise<void>): void;
  /** The value was seen in the store. */
  believe(name: string): void;
  /** It is not there, or of no use: `damaged` values are written over. */
  doubt(name: string, damaged?: boolean): void;
  /** Resolves when nothing waits any more. */
  flush(): Promise<void>;
}

/** Names that are believed to be in the store, and for how long. */
const MAX_KNOWN = 65_536;
const KNOWN_MS = 600_000;

export function createWriteBehind(options: WriteBehindOptions): WriteBehind {
  const { store, maxBytes, dropped, failed, queued } = options;
  const queue = new Map<string, { readonly bytes: number; readonly write: () => Promise<void> }>();
  /** Until when each is believed. */
  const known = new Map<string, number>();
  const damaged = new Set<string>();
  let waiting = 0;
  let epoch = store.epoch;
  let writing: Promise<void> | undefined;

  function believe(name: string): void {
    known.delete(name);
    known.set(name, performance.now() + KNOWN_MS);
    if (known.size > MAX_KNOWN) known.delete(known.keys().next().value!);
  }

  function isKnown(name: string): boolean {
    // A store that was away may have come back empty.
    if (epoch !== store.epoch) known.clear();
    epoch = store.epoch;
    return (known.get(name) ?? 0) > performance.now();
  }

  async function writeAll(): Promise<void> {
    for (;;) {
      // Steps and answers come first.
      await yieldToHost();
      const [next] = queue;
      if (next === undefined) return;
      const [name, { bytes, write }] = next;
      try {
        if (damaged.delete(name) || !(await store.has([name]))[0]) await write();
        else believe(name);
      } catch (error) {
        const isFull = error instanceof StoreFullError;
        if (!isFull) failed();
        dropped(isFull ? "store_full" : "away");
      }
      queue.delete(name);
      waiting -= bytes;
      queued(waiting);
    }
  }

  function start(): void {
    if (queue.size === 0) return;
    writing ??= writeAll().finally(() => {
      writing = undefined;
      start();
    });
  }

  return Object.freeze<WriteBehind>({
    add(name, bytes, write) {
      if (queue.has(name) || isKnown(name)) return;
      if (!store.up) return dropped("away");
      if (waiting + bytes > maxBytes) return dropped("queue_full");
      queue.set(name, { bytes, write });
      waiting += bytes;
      queued(waiting);
      start();
    },
    believe,
    doubt(name, isDamaged = false) {
      known.delete(name);
      if (isDamaged) damaged.add(name);
    },
    async flush() {
      await writing;
    },
  });
}
