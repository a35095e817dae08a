import { assert } from "@kvcache/core";
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
  /** Gives back what the entry holds beside blocks. */
  readonly release?: () => void;
}

/**
 * Entries in the order of their last use. Parents count as used whenever a child is, so the oldest
 * entry never has children and can go.
 */
export interface PrefixStore {
  readonly bytes: number;
  /** First groups and compressed prompts of a namespace; created where `create` says so. */
  namespace(name: string, create: boolean): Map<string, PrefixEntry> | undefined;
  /**
   * Takes hold of the entry's blocks, makes it the newest, then gives way down to the cap. False
   * when the entry itself had to go: its prompt alone exceeds the cap.
   */
  insert(entry: PrefixEntry): boolean;
  /** Makes an entry, then its ancestors, the newest. Returns how many that were. */
  touch(entry: PrefixEntry): number;
  /** Gives back the oldest entry that frees a block of the arena; without one the oldest of all. */
  reclaim(arena: number): void;
  evictOldest(): void;
  clear(namespace?: string): void;
}

export function createPrefixStore(pools: readonly BlockPool[], maxBytes: number): PrefixStore {
  const namespaces = new Map<string, Map<string, PrefixEntry>>();
  const entries = new Set<PrefixEntry>();
  let bytes = 0;

  const oldest = (): PrefixEntry => {
    const { value } = entries.values().next();
    assert(value, "Blocks are held that neither a sequence nor the prefix index knows.");
    return value;
  };

  const touch = (entry: PrefixEntry): number => {
    let moved = 0;
    for (let e: PrefixEntry | undefined = entry; e; e = e.parent, moved++) {
      entries.delete(e);
      entries.add(e);
    }
    return moved;
  };

  const evict = (entry: PrefixEntry): void => {
    entries.delete(entry);
    entry.siblings.delete(entry.key);
    if (entry.parent === undefined && entry.siblings.size === 0) namespaces.delete(entry.namespace);
    for (let i = 0; i < entry.blocks.length; i++)
      pools[entry.arenas[i]!]!.uncache(entry.blocks[i]!);
    bytes -= entry.bytes;
    entry.release?.();
  };

  const frees = ({ blocks, arenas }: PrefixEntry, arena: number): boolean =>
    blocks.some((block, i) => arenas[i] === arena && pools[arena]!.users(block) === 0);

  return {
    get bytes() {
      return bytes;
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
      while (bytes > maxBytes) evict(oldest());
      return entries.has(entry);
    },
    touch,
    reclaim(arena) {
      // What running sequences hold frees nothing: it is in use, so it counts as used just now.
      for (let left = entries.size; left > 0; ) {
        const entry = oldest();
        if (frees(entry, arena)) return evict(entry);
        left -= touch(entry);
      }
      evict(oldest());
    },
    evictOldest: () => evict(oldest()),
    clear(namespace) {
      for (const entry of [...entries])
        if (namespace === undefined || entry.namespace === namespace) evict(entry);
    },
  };
}
