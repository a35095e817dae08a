import { expect, it } from "vitest";
import { decodePartialState, encodePartialState } from "./partial-state.ts";
import { type PartialStore, runResumable, type WorkProgress } from "./resumable.ts";

/** Sums that rounding makes depend on their order, kept in memory like a file. */
function sums(store: PartialStore, signal?: AbortSignal, key = "sums") {
  const sum = new Float64Array(1);
  const seen: number[] = [];
  const progress: WorkProgress[] = [];
  const work = {
    key,
    store,
    parts: [0.1, 0.7, 1e16, -1e16, 0.3],
    state: () => ({ sum: sum.slice() }),
    restore: (arrays: { readonly [name: string]: ArrayLike<number> }) => sum.set(arrays.sum!),
    run: async (part: number) => {
      seen.push(part);
      sum[0]! += part;
    },
    onProgress: (now: WorkProgress) => void progress.push(now),
    saveEvery: 0,
    ...(signal && { signal }),
  };
  return { work, sum, seen, progress };
}

function memoryStore(): PartialStore & { bytes: Uint8Array | undefined } {
  const store = {
    bytes: undefined as Uint8Array | undefined,
    load: () => store.bytes && decodePartialState(store.bytes),
    save(state: Parameters<PartialStore["save"]>[0]) {
      store.bytes = encodePartialState(state);
    },
  };
  return store;
}

it("gives the same in one piece, stopped, or killed at any part", async () => {
  const whole = sums(memoryStore());
  expect(await runResumable(whole.work)).toBe(true);
  for (let stop = 0; stop < 5; stop++) {
    const store = memoryStore();
    const abort = new AbortController();
    const first = sums(store, abort.signal);
    const run = async (part: number) => {
      await first.work.run(part);
      if (first.seen.length === stop) abort.abort();
    };
    if (stop === 0) abort.abort();
    expect(await runResumable({ ...first.work, run })).toBe(false);
    const second = sums(store);
    expect(await runResumable(second.work)).toBe(true);
    expect([...first.seen, ...second.seen]).toEqual(whole.work.parts);
    expect(second.sum).toEqual(whole.sum);

    const killed = memoryStore();
    const broken = sums(killed);
    const fails = async (part: number) => {
      if (broken.seen.length === stop) throw new Error("killed");
      await broken.work.run(part);
    };
    await expect(runResumable({ ...broken.work, run: fails })).rejects.toThrow("killed");
    const third = sums(killed);
    await runResumable(third.work);
    expect(third.sum).toEqual(whole.sum);
  }
});

it("says how far it is, and refuses the beginning of other work", async () => {
  const store = memoryStore();
  const { work, progress } = sums(store);
  await runResumable({ ...work, sizeOf: (part) => (part === 0.1 ? 6 : 1) });
  expect(progress.map(({ fraction }) => fraction)).toEqual([0, 0.6, 0.7, 0.8, 0.9]);
  expect(progress[0]!.secondsLeft).toBeUndefined();
  expect(progress[1]!.secondsLeft).toBeGreaterThanOrEqual(0);
  const { work: other } = sums(store, undefined, "others");
  await expect(runResumable(other)).rejects.toThrow("beginning of other work");
});
