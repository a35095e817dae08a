import { assert, type PrefixGroup, type PrefixWatcher } from "@kvcache/core";
import type { BlockPool } from "./block-pool.ts";

/** What the index holds: one block group of an uncompressed prefix, or a compressed prompt. */
export interface PrefixEntry {
  readonly namespace: string;
  /** Names the entry exactly among its siblings: the token ids themselves, never a digest. */
  readonly key: string;
  readonly siblings: Map<string, PrefixEntry>;
  /** The group before this one; undefined at the start of a prompt. */
  readonly parent: PrefixEntry | undefined;
  readonly children: Map<string, PrefixEntry>;
  /** Blocks, and the arena of each. */
  readonly blocks: Int32Array;
  readonly arenas: Uint8Array;
  readonly bytes: number;
  /** What watchers know it by; undefined for a compressed prompt. */
  readonly group: PrefixGroup | undefined;
  /** Gives back what the entry holds beside blocks. */
  readonly release?: () => void;
}

/**
 * Entries in the order of their last use. Parents count as used whenever a child is, so the oldest
 * entry never has children and can go. Pinned entries, with all their ancestors, stand apart: they
 * go when nothing else is left, and among the others again once their time or their bytes are spent.
 */
export interface PrefixStore {
  readonly bytes: number;
  readonly pinnedBytes: number;
  /** First groups and compressed prompts of a namespace; created where `create` says so. */
  namespace(name: string, create: boolean): Map<string, PrefixEntry> | undefined;
  /**
   * Takes hold of the entry's blocks, makes it the newest, then gives way down to the cap. False
   * when the entry itself had to go: its prompt alone exceeds the cap.
   */
  insert(entry: PrefixEntry): boolean;
  /** Makes an entry, then its ancestors, the newest. */
  touch(entry: PrefixEntry): void;
  /** Keeps an entry and its ancestors apart for so long at least. */
  pin(entry: PrefixEntry, milliseconds: number): void;
  /** Gives back the oldest entry that frees a block of the arena; without one the oldest of all. */
  reclaim(arena: number): void;
  evictOldest(): void;
  clear(namespace?: string): void;
}

export interface PrefixStoreOptions {
  readonly maxBytes: number;
  readonly maxPinnedBytes: number;
  readonly watcher?: PrefixWatcher | undefined;
  /** Milliseconds of a clock that never goes back. */
  readonly now?: () => number;
}

export function createPrefixStore(
  pools: readonly BlockPool[],
  { maxBytes, maxPinnedBytes, watcher, now = () => performance.now() }: PrefixStoreOptions,
): PrefixStore {
  const namespaces = new Map<string, Map<string, PrefixEntry>>();
  const entries = new Set<PrefixEntry>();
  /** Until when. */
  const pinned = new Map<PrefixEntry, number>();
  let bytes = 0;
  let pinnedBytes = 0;

  const unpin = (entry: PrefixEntry): void => {
    if (!pinned.delete(entry)) return;
    pinnedBytes -= entry.bytes;
    entries.add(entry);
  };

  const unpinExpired = (): void => {
    if (pinned.size === 0) return;
    const time = now();
    for (const [entry, until] of pinned) if (until <= time) unpin(entry);
  };

  const oldest = (): PrefixEntry => {
    const value = entries.values().next().value ?? pinned.keys().next().value;
    assert(value, "Blocks are held that neither a sequence nor the prefix index knows.");
    return value;
  };

  /** Returns how many were moved that are pinned as the entry is, or like it are not. */
  const touch = (entry: PrefixEntry): number => {
    const isPinned = pinned.has(entry);
    let moved = 0;
    for (let e: PrefixEntry | undefined = entry; e; e = e.parent) {
      const until = pinned.get(e);
      if ((until !== undefined) === isPinned) moved++;
      if (until === undefined) {
        entries.delete(e);
        entries.add(e);
      } else {
        pinned.delete(e);
        pinned.set(e, until);
      }
    }
    return moved;
  };

  const evict = (entry: PrefixEntry): void => {
    unpin(entry);
    entries.delete(entry);
    entry.siblings.delete(entry.key);
    if (entry.parent === undefined && entry.siblings.size === 0) namespaces.delete(entry.namespace);
    for (let i = 0; i < entry.blocks.length; i++)
      pools[entry.arenas[i]!]!.uncache(entry.blocks[i]!);
    bytes -= entry.bytes;
    entry.release?.();
    if (entry.group) watcher?.removed(entry.group);
  };

  const frees = ({ blocks, arenas }: PrefixEntry, arena: number): boolean =>
    blocks.some((block, i) => arenas[i] === arena && pools[arena]!.users(block) === 0);

  return {
    get bytes() {
      return bytes;
    },
    get pinnedBytes() {
      return pinnedBytes;
    },
    namespace(name, create) {
      const found = namespaces.get(name);
      if (found !== undefined || !create) return found;
      const roots = new Map<string, PrefixEntry>();
      namespaces.set(name, roots);
      return roots;
    },
    insert(entry) {
      entry.siblings.set(entry.key, entry);
      for (let i = 0; i < entry.blocks.length; i++)
        pools[entry.arenas[i]!]!.cache(entry.blocks[i]!);
      bytes += entry.bytes;
      touch(entry);
      if (entry.group) watcher?.stored(entry.group);
      if (bytes > maxBytes) unpinExpired();
      while (bytes > maxBytes) evict(oldest());
      return entries.has(entry);
    },
    touch,
    pin(entry, milliseconds) {
      unpinExpired();
      const until = now() + milliseconds;
      for (let e: PrefixEntry | undefined = entry; e; e = e.parent) {
        if (entries.delete(e)) pinnedBytes += e.bytes;
        const before = pinned.get(e) ?? until;
        pinned.delete(e);
        pinned.set(e, Math.max(before, until));
      }
      while (pinnedBytes > maxPinnedBytes) unpin(pinned.keys().next().value!);
    },
    reclaim(arena) {
      unpinExpired();
      // What running sequences hold frees nothing: it is in use, so it counts as used just now.
      for (const group of [entries, pinned])
        for (let left = group.size; left > 0; ) {
          const entry: PrefixEntry = group.keys().next().value!;
          if (frees(entry, arena)) return evict(entry);
          left -= touch(entry);
        }
      evict(oldest());
    },
    evictOldest() {
      unpinExpired();
      evict(oldest());
    },
    clear(namespace) {
      // Children before their parents, as everywhere.
      for (const entry of [...entries, ...pinned.keys()])
        if (namespace === undefined || entry.namespace === namespace) evict(entry);
    },
  };
}
