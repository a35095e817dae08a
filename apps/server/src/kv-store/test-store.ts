import { setTimeout as sleep } from "node:timers/promises";
import { type BlockStore, StoreFullError } from "./block-store.ts";

/** A store in memory, that can be told to fail. */
export interface TestStore extends BlockStore {
  readonly values: Map<string, Uint8Array>;
  /** What every call does before it answers. */
  trouble: "none" | "refuses" | "hangs" | "full";
  calls: number;
  /** Milliseconds that each call takes. */
  delay: number;
}

export function createTestStore(): TestStore {
  const values = new Map<string, Uint8Array>();
  async function answer<T>(result: () => T): Promise<T> {
    store.calls++;
    if (store.delay > 0) await sleep(store.delay);
    if (store.trouble === "refuses") throw new Error("connection refused");
    if (store.trouble === "hangs") return new Promise<never>(() => {});
    return result();
  }
  const store: TestStore = {
    description: "memory",
    values,
    trouble: "none",
    calls: 0,
    delay: 0,
    ping: () => answer(() => undefined),
    has: (names) => answer(() => names.map((name) => values.has(name))),
    get: (names) => answer(() => names.map((name) => values.get(name))),
    set: (name, value) =>
      answer(() => {
        if (store.trouble === "full") throw new StoreFullError();
        values.set(name, value.slice());
      }),
    close: async () => {},
  };
  return store;
}
