/** Keeps changes of the cache and the roster out of the work that they would disturb. */
export interface Turnstile {
  /** Runs work that nothing may change under; then what waited for its end. */
  whileBusy<R>(work: () => Promise<R>): Promise<R>;
  /** Runs a change at once, or right after the work that runs now. */
  whenFree(change: () => void): void;
}

export function createTurnstile(): Turnstile {
  let busy = false;
  let waiting: (() => void)[] = [];
  return {
    async whileBusy(work) {
      busy = true;
      try {
        return await work();
      } finally {
        busy = false;
        const changes = waiting;
        waiting = [];
        runAll(changes);
      }
    },
    whenFree(change) {
      if (busy) waiting.push(change);
      else change();
    },
  };
}

/** Runs all of them, whatever becomes of one. Throws what the first threw that failed. */
function runAll(changes: readonly (() => void)[]): void {
  const errors: unknown[] = [];
  for (const change of changes)
    try {
      change();
    } catch (error) {
      errors.push(error);
    }
  if (errors.length > 0) throw errors[0];
}
