/** Lets a long computation give the event loop a turn now and then. */
export interface Pacer {
  /** Whether it is time for {@link pause}. */
  due(): boolean;
  /** Resolves in a later turn of the event loop. */
  pause(): Promise<void>;
}

/** A pacer that is due `milliseconds` after the last pause. */
export function createPacer(milliseconds = 20): Pacer {
  let last = performance.now();
  return {
    due: () => performance.now() - last > milliseconds,
    async pause() {
      await nextTurn();
      last = performance.now();
    },
  };
}

// A promise alone stays in the same turn; browsers have no setImmediate.
const nextTurn = (): Promise<void> =>
  new Promise((resolve) => {
    if (typeof setImmediate === "function") setImmediate(resolve);
    else setTimeout(resolve, 0);
  });
