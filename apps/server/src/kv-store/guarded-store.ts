import { type BlockStore, StoreFullError } from "./block-store.ts";

/** A store that is left alone while it is away, and says whether it is. */
export interface GuardedStore extends BlockStore {
  readonly up: boolean;
  /** How often it came back: what was known about its contents before is worth nothing. */
  readonly epoch: number;
  /** Asks once whether it is there; whether or not, the store can be used afterwards. */
  connect(): Promise<void>;
}

export interface GuardOptions {
  /** No call may take longer. */
  readonly timeoutMs: number;
  /** Failures in a row after which it counts as away. */
  readonly maxFailures?: number;
  /** First wait before it is asked whether it is back; doubles up to 8 of them. */
  readonly retryMs?: number;
  /** It went away (with the reason) or came back. */
  readonly onChange?: (up: boolean, error?: unknown) => void;
}

/** Rejected without asking. */
export class StoreAwayError extends Error {}

/**
 * A circuit breaker: calls that take too long fail, and after some failures in a row every call
 * fails at once, until the store answers a ping again. Nobody's request pays for trying.
 */
export function guardStore(store: BlockStore, options: GuardOptions): GuardedStore {
  const { timeoutMs, maxFailures = 3, retryMs = 500, onChange } = options;
  let up = true;
  let epoch = 0;
  let failures = 0;
  let closed = false;
  let probing: NodeJS.Timeout | undefined;

  async function timed<T>(work: Promise<T>): Promise<T> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_, reject) => {
      const error = new Error(`no answer within ${timeoutMs} ms`);
      timer = setTimeout(() => reject(error), timeoutMs);
    });
    try {
      return await Promise.race([work, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  function goAway(error: unknown): void {
    up = false;
    onChange?.(false, error);
    probeAfter(retryMs);
  }

  function probeAfter(milliseconds: number): void {
    if (closed) return;
    probing = setTimeout(async () => {
      try {
        await timed(store.ping());
        up = true;
        epoch++;
        failures = 0;
        onChange?.(true);
      } catch {
        probeAfter(Math.min(8 * retryMs, 2 * milliseconds));
      }
    }, milliseconds);
    probing.unref();
  }

  const guarded =
    <A extends readonly unknown[], T>(call: (...args: A) => Promise<T>) =>
    async (...args: A): Promise<T> => {
      if (!up) throw new StoreAwayError(`${store.description} is away`);
      try {
        const result = await timed(call(...args));
        failures = 0;
        return result;
      } catch (error) {
        if (closed || error instanceof StoreFullError) throw error;
        if (++failures >= maxFailures && up) goAway(error);
        throw error;
      }
    };

  return {
    description: store.description,
    get up() {
      return up;
    },
    get epoch() {
      return epoch;
    },
    async connect() {
      try {
        await timed(store.ping());
      } catch (error) {
        if (up) goAway(error);
      }
    },
    ping: guarded(store.ping),
    has: guarded(store.has),
    get: guarded(store.get),
    set: guarded(store.set),
    async close() {
      closed = true;
      clearTimeout(probing);
      await store.close();
    },
  };
}
