import {
  blockBytes,
  KvCacheError,
  type PrefixExchange,
  type PrefixKey,
  type SequenceSlot,
} from "@kvcache/core";
import { type CacheState, checkAlive, checkCount, takeBlock } from "./cache-state.ts";
import { chainOf, groupEntry } from "./prefix-chain.ts";
import { adoptCompressed, publishCompressed } from "./prefix-compressed.ts";
import { compressedName, groupName } from "./prefix-key.ts";
import { bytesOfBlocks } from "./prefix-sharing.ts";
import type { PrefixEntry } from "./prefix-store.ts";
import { spareBlocks } from "./reservations.ts";
import { exportSequence, importSequence } from "./sequence-export.ts";
import { closeSequence, openSequence } from "./sequences.ts";

/** What the prefix index holds, as bytes: for stores outside this cache. */
export function prefixExchange(state: CacheState): PrefixExchange {
  const { host, rows, arenaOfRow, blockSize, pools, prefixes } = state;
  const arenas = Uint8Array.from(rows, (row) => arenaOfRow[row]!);
  const groupBytes = bytesOfBlocks(state, arenas);
  const bytesOf = host.arenas.map(({ layout }) => blockBytes(layout));
  const needed = new Int32Array(pools.length);
  for (const arena of arenas) needed[arena]!++;

  /** Visits a group's blocks: the memory of each, and where it stands among the group's bytes. */
  function forEachBlock(blocks: Int32Array, visit: (memory: Uint8Array, at: number) => void): void {
    let at = 0;
    for (let i = 0; i < blocks.length; i++) {
      const arena = arenas[i]!;
      const size = bytesOf[arena]!;
      const start = blocks[i]! * size;
      visit(host.arenas[arena]!.storage.subarray(start, start + size), at);
      at += size;
    }
  }

  /** One block of each row, held by one sequence that does not exist; undefined without room. */
  function takeGroup(): Int32Array | undefined {
    if (needed.some((count, arena) => count > spareBlocks(state, arena))) return undefined;
    return Int32Array.from(arenas, (arena) => takeBlock(state, arena));
  }

  function fill(blocks: Int32Array, start: number, bytes: Uint8Array): void {
    forEachBlock(blocks, (memory, at) => memory.set(bytes.subarray(at, at + memory.length)));
    for (let i = 0; i < blocks.length; i++) {
      const { positions, sumAttention, sumSquaredAttention } = host.arenas[arenas[i]!]!;
      const slot = blocks[i]! * blockSize;
      for (let j = 0; j < blockSize; j++) positions[slot + j] = start + j;
      sumAttention.fill(0, slot, slot + blockSize);
      sumSquaredAttention.fill(0, slot, slot + blockSize);
    }
  }

  /** The group of tokens from `start` on, new behind `parent`; undefined where it cannot be kept. */
  function insert(
    key: PrefixKey,
    start: number,
    parent: PrefixEntry | undefined,
    bytes: Uint8Array,
  ): PrefixEntry | undefined {
    if (parent) prefixes.touch(parent);
    const blocks = takeGroup();
    if (!blocks) return undefined;
    const release = () => blocks.forEach((block, i) => void pools[arenas[i]!]!.release(block));
    // Where nothing older was left, taking blocks took them from this very prefix.
    if (parent && parent.siblings.get(parent.key) !== parent) {
      release();
      return undefined;
    }
    fill(blocks, start, bytes);
    const siblings = parent?.children ?? prefixes.namespace(key.namespace, true)!;
    const held = { blocks, arenas, bytes: groupBytes };
    const entry = groupEntry(key, start, siblings, parent, held, blockSize);
    const kept = prefixes.insert(entry);
    release();
    return kept ? entry : undefined;
  }

  return Object.freeze<PrefixExchange>({
    groupBytes,
    read(key, start, stop) {
      checkBlocks(start, "start");
      checkBlocks(stop, "stop");
      const chain = chainOf(state, key, stop);
      if (chain.length * blockSize < stop || stop < start) return undefined;
      const groups = chain.slice(start / blockSize);
      const bytes = new Uint8Array(groups.length * groupBytes);
      groups.forEach(({ blocks }, group) => {
        forEachBlock(blocks, (memory, at) => bytes.set(memory, group * groupBytes + at));
      });
      return bytes;
    },
    write(key, start, bytes) {
      checkBlocks(start, "start");
      const groups = bytes.length / groupBytes;
      if (!Number.isInteger(groups) || start + groups * blockSize > key.tokenIds.length)
        throw new KvCacheError(
          "invalid-argument",
          `${bytes.length} bytes are no groups of ${groupBytes} bytes for ${key.tokenIds.length - start} tokens.`,
          { value: bytes.length },
        );
      const chain = chainOf(state, key, start);
      if (chain.length * blockSize < start) return chain.length * blockSize;
      let parent = chain.at(-1);
      for (let group = 0; group < groups; group++) {
        const at = start + group * blockSize;
        const siblings = parent?.children ?? prefixes.namespace(key.namespace, false);
        const known = siblings?.get(groupName(key, at, at + blockSize));
        const content = bytes.subarray(group * groupBytes, (group + 1) * groupBytes);
        const entry = known ?? insert(key, at, parent, content);
        if (!entry) return chainOf(state, key, at).length * blockSize;
        parent = entry;
      }
      if (parent) prefixes.touch(parent);
      return start + groups * blockSize;
    },
    hasCompressed,
    readCompressed(key, planFingerprint) {
      if (!hasCompressed(key, planFingerprint) || !hasSlot()) return undefined;
      const sequence = openSequence(state);
      try {
        if (!adoptCompressed(state, sequence, key, planFingerprint)) return undefined;
        return exportSequence(state, sequence);
      } finally {
        closeSequence(state, sequence);
      }
    },
    writeCompressed(key, planFingerprint, bytes) {
      if (hasCompressed(key, planFingerprint)) return true;
      if (!hasSlot()) return false;
      let sequence: SequenceSlot;
      try {
        sequence = importSequence(state, bytes);
      } catch (error) {
        if (error instanceof KvCacheError && error.code === "out-of-blocks") return false;
        throw error;
      }
      publishCompressed(state, sequence, key, planFingerprint);
      closeSequence(state, sequence);
      return hasCompressed(key, planFingerprint);
    },
  });

  function hasCompressed(key: PrefixKey, planFingerprint: string): boolean {
    checkAlive(state);
    const siblings = prefixes.namespace(key.namespace, false);
    return siblings?.has(compressedName(key, planFingerprint)) ?? false;
  }

  function hasSlot(): boolean {
    return state.isOpen.includes(0);
  }

  function checkBlocks(tokens: number, name: string): void {
    checkAlive(state);
    checkCount(tokens, name);
    if (tokens % blockSize !== 0)
      throw new KvCacheError(
        "invalid-argument",
        `${name} must be whole blocks of ${blockSize} tokens, got ${tokens}.`,
        { value: tokens },
      );
  }
}
