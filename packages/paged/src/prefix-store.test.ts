import { expect, test } from "vitest";
import { createBlockPool } from "./block-pool.ts";
import { createPrefixStore, type PrefixEntry, type PrefixStoreOptions } from "./prefix-store.ts";

/** Entries of one block of 10 bytes; `time` is the store's clock. */
function world(options: Partial<PrefixStoreOptions> = {}) {
  const clock = { time: 0 };
  const heard: string[] = [];
  const name = (group: { tokenIds: Int32Array }) => String(group.tokenIds[0]);
  const pool = createBlockPool(100);
  const store = createPrefixStore([pool], {
    maxBytes: 1000,
    maxPinnedBytes: 500,
    now: () => clock.time,
    watcher: {
      stored: (group) => void heard.push(`+${name(group)}`),
      removed: (group) => void heard.push(`-${name(group)}`),
    },
    ...options,
  });
  let ids = 0;
  /** A chain of entries, first group first; nobody else holds them. */
  const chain = (length: number, below?: PrefixEntry): PrefixEntry[] => {
    const made: PrefixEntry[] = [];
    for (let i = 0, parent = below; i < length; i++) {
      const id = ids++;
      const block = pool.allocate();
      const siblings = parent?.children ?? store.namespace("n", true)!;
      const tokenIds = Int32Array.of(id);
      const entry: PrefixEntry = {
        namespace: "n",
        key: String(id),
        siblings,
        parent,
        children: new Map(),
        blocks: Int32Array.of(block),
        arenas: Uint8Array.of(0),
        bytes: 10,
        group: { namespace: "n", tokenIds, parent: parent?.group },
      };
      const stays = store.insert(entry);
      pool.release(block);
      if (!stays) break;
      made.push(entry);
      parent = entry;
    }
    store.touch(made.at(-1)!);
    return made;
  };
  const has = (entry: PrefixEntry) => entry.siblings.get(entry.key) === entry;
  return { store, chain, clock, heard, has, pool };
}

test("pinned prefixes outlive newer ones, and still give way when nothing else is left", () => {
  const { store, chain, has } = world();
  const old = chain(3);
  store.pin(old[1]!, 1000);
  const later = chain(2);
  expect(store.pinnedBytes).toBe(20);
  store.evictOldest();
  expect(old.map(has)).toEqual([true, true, false]);
  store.reclaim(0);
  store.reclaim(0);
  expect([...old, ...later].map(has)).toEqual([true, true, false, false, false]);
  store.reclaim(0);
  expect(old.map(has)).toEqual([true, false, false]);
  store.evictOldest();
  expect([store.bytes, store.pinnedBytes]).toEqual([0, 0]);
});

test("a pin ends with its time; a longer one of a descendant counts for its ancestors", () => {
  const { store, chain, clock, has } = world();
  const old = chain(3);
  store.pin(old[2]!, 50);
  store.pin(old[0]!, 20);
  const [later] = chain(1);
  clock.time = 30;
  store.evictOldest();
  expect([has(old[2]!), has(later!)]).toEqual([true, false]);
  clock.time = 51;
  const [last] = chain(1);
  // Those whose pin ended count as used at its end.
  store.evictOldest();
  expect([...old.map(has), has(last!)]).toEqual([true, true, true, false]);
  for (const left of [2, 1, 0]) {
    store.evictOldest();
    expect(old.map(has)).toEqual([left > 0, left > 1, left > 2]);
  }
});

test("pins hold no more bytes than they may, the ends of the oldest prompts go first", () => {
  const { store, chain, has } = world({ maxPinnedBytes: 30 });
  const first = chain(2);
  store.pin(first[1]!, 1000);
  const second = chain(2);
  store.pin(second[1]!, 1000);
  expect(store.pinnedBytes).toBe(30);
  store.evictOldest();
  expect([...first, ...second].map(has)).toEqual([true, false, true, true]);
});

test("what is in use is spared, in whatever class it stands", () => {
  const { store, chain, has, pool } = world();
  const [used] = chain(1);
  const pinned = chain(2);
  store.pin(pinned[1]!, 1000);
  const below = chain(1, pinned[1]);
  const [free] = chain(1);
  for (const entry of [used!, ...pinned, ...below]) pool.retain(entry.blocks[0]!);
  store.reclaim(0);
  expect([used!, ...pinned, ...below, free!].map(has)).toEqual([true, true, true, true, false]);
});

test("the cap on bytes holds for all entries, and watchers hear of each once", () => {
  const { store, chain, heard } = world({ maxBytes: 30 });
  const old = chain(2);
  store.pin(old[1]!, 1000);
  chain(2);
  expect(store.bytes).toBe(30);
  store.clear();
  expect([store.bytes, store.pinnedBytes]).toEqual([0, 0]);
  const stored = heard.filter((event) => event.startsWith("+")).map((event) => event.slice(1));
  const removed = heard.filter((event) => event.startsWith("-")).map((event) => event.slice(1));
  expect(stored).toEqual(["0", "1", "2", "3"]);
  expect([...removed].sort()).toEqual(stored);
  expect(removed[0]).toBe("3");
});
