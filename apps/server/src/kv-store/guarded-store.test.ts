import { expect, it, vi } from "vitest";
import { StoreFullError } from "./block-store.ts";
import { guardStore, StoreAwayError } from "./guarded-store.ts";
import { createTestStore } from "./test-store.ts";

const guardOf = (maxFailures = 2) => {
  const store = createTestStore();
  const changes: boolean[] = [];
  const guarded = guardStore(store, {
    timeoutMs: 20,
    maxFailures,
    retryMs: 10,
    onChange: (up) => void changes.push(up),
  });
  return { store, guarded, changes };
};

it("leaves a store alone after failures in a row, and finds out by itself that it is back", async () => {
  const { store, guarded, changes } = guardOf();
  expect(await guarded.has(["a"])).toEqual([false]);
  store.trouble = "refuses";
  await expect(guarded.has(["a"])).rejects.toThrow("refused");
  store.trouble = "none";
  await guarded.has(["a"]);
  store.trouble = "refuses";
  for (let i = 0; i < 2; i++) await expect(guarded.get(["a"])).rejects.toThrow("refused");
  expect([guarded.up, changes]).toEqual([false, [false]]);
  await expect(guarded.set("a", new Uint8Array(1))).rejects.toThrow(StoreAwayError);
  expect(store.values.size).toBe(0);
  store.trouble = "none";
  await vi.waitFor(() => expect(guarded.up).toBe(true));
  expect([guarded.epoch, changes]).toEqual([1, [false, true]]);
  await guarded.set("a", new Uint8Array(1));
  await guarded.close();
});

it("waits no longer than it may", async () => {
  const { store, guarded } = guardOf(1);
  store.trouble = "hangs";
  await expect(guarded.has(["a"])).rejects.toThrow("no answer within 20 ms");
  expect(guarded.up).toBe(false);
  await guarded.close();
});

it("a full store is no absent one", async () => {
  const { store, guarded } = guardOf(1);
  store.trouble = "full";
  await expect(guarded.set("a", new Uint8Array(1))).rejects.toThrow(StoreFullError);
  expect(guarded.up).toBe(true);
  await guarded.close();
});

it("may begin while the store is away", async () => {
  const { store, guarded, changes } = guardOf();
  store.trouble = "refuses";
  await guarded.connect();
  expect([guarded.up, changes]).toEqual([false, [false]]);
  store.trouble = "none";
  await vi.waitFor(() => expect(guarded.up).toBe(true));
  await guarded.close();
});
