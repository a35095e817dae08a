import { KvCacheError, type PrefixKey, type PrefixPin, type SequenceSlot } from "@kvcache/core";
import { type CacheState, checkAlive, checkCount } from "./cache-state.ts";
import { groupName } from "./prefix-key.ts";
import { bytesOfBlocks, checkEmpty, releaseEntry, retainEntry } from "./prefix-sharing.ts";
import type { PrefixEntry } from "./prefix-store.ts";
import { recountPromises, setPromise } from "./reservations.ts";

/*
 * Uncompressed prefixes: a tree whose nodes are block groups (one block of every row), found by the
 * token ids of the group below the node of the group before.
 */

/** The longest chain of groups that the key agrees with, first group first. */
export function chainOf(state: CacheState, key: PrefixKey, limit: number): PrefixEntry[] {
  checkAlive(state);
  checkCount(limit, "limit");
  const { blockSize, prefixes } = state;
  const found: PrefixEntry[] = [];
  let siblings = prefixes.namespace(key.namespace, false);
  const stop = Math.min(limit, key.tokenIds.length);
  for (let end = blockSize; siblings && end <= stop; end += blockSize) {
    const entry = siblings.get(groupName(key, end - blockSize, end));
    if (entry === undefined) break;
    found.push(entry);
    siblings = entry.children;
  }
  return found;
}

export const lookupPrefix = (state: CacheState, key: PrefixKey, limit: number): number =>
  chainOf(state, key, limit).length * state.blockSize;

/** Shares as many groups as promises to others allow; returns their tokens. */
export function adoptPrefix(
  state: CacheState,
  sequence: SequenceSlot,
  key: PrefixKey,
  limit: number,
): number {
  checkEmpty(state, sequence);
  const { host, blockSize, rows, numRows } = state;
  const found = chainOf(state, key, Math.min(limit, host.maxBlocksPerRow * blockSize));
  const setGroup = (group: number, block: (row: number) => number) =>
    rows.forEach((row, i) => {
      host.blockTables[(sequence * numRows + row) * host.maxBlocksPerRow + group] = block(i);
    });
  found.forEach((entry, group) => {
    retainEntry(state, entry);
    setGroup(group, (i) => entry.blocks[i]!);
  });
  const promised = state.promisedTokens[sequence]!;
  for (let groups = found.length; groups > 0; groups--) {
    const tokens = groups * blockSize;
    for (const row of rows) host.lengths[sequence * numRows + row] = tokens;
    host.nextPositions[sequence] = tokens;
    setPromise(state, sequence, Math.max(0, promised - tokens));
    if (recountPromises(state)) {
      state.prefixes.touch(found[groups - 1]!);
      return tokens;
    }
    releaseEntry(state, found[groups - 1]!);
    setGroup(groups - 1, () => -1);
  }
  host.lengths.fill(0, sequence * numRows, (sequence + 1) * numRows);
  host.nextPositions[sequence] = 0;
  setPromise(state, sequence, promised);
  recountPromises(state);
  return 0;
}

export function publishPrefix(
  state: CacheState,
  sequence: SequenceSlot,
  key: PrefixKey,
  tokens: number,
  pin?: PrefixPin,
): void {
  checkCount(tokens, "tokens");
  if (state.isCompressed[sequence] === 1)
    throw new KvCacheError("invalid-argument", `Sequence ${sequence} is compressed.`, {
      value: sequence,
      remedy: "Publish it with publishCompressed.",
    });
  if (tokens > key.tokenIds.length)
    throw new KvCacheError(
      "invalid-argument",
      `The key names ${key.tokenIds.length} tokens, not ${tokens}.`,
      { value: tokens },
    );
  const { blockSize, prefixes } = state;
  const arenas = Uint8Array.from(state.rows, (row) => state.arenaOfRow[row]!);
  const bytes = bytesOfBlocks(state, arenas);
  let parent: PrefixEntry | undefined;
  let lastPinned: PrefixEntry | undefined;
  for (let group = 0; (group + 1) * blockSize <= tokens; group++) {
    const blocks = groupBlocks(state, sequence, group);
    const name = groupName(key, group * blockSize, (group + 1) * blockSize);
    const siblings: Map<string, PrefixEntry> =
      parent?.children ?? prefixes.namespace(key.namespace, true)!;
    let entry = siblings.get(name);
    if (entry === undefined) {
      const held = { blocks, arenas, bytes };
      entry = groupEntry(key, group * blockSize, siblings, parent, held, blockSize);
      if (!prefixes.insert(entry)) return;
    }
    parent = entry;
    if (pin && (group + 1) * blockSize <= pin.tokens) lastPinned = entry;
  }
  if (parent) prefixes.touch(parent);
  if (pin && lastPinned) prefixes.pin(lastPinned, pin.milliseconds);
}

/** An entry for the group of tokens from `start` on, of as many as a block holds. */
export function groupEntry(
  key: PrefixKey,
  start: number,
  siblings: Map<string, PrefixEntry>,
  parent: PrefixEntry | undefined,
  held: Pick<PrefixEntry, "blocks" | "arenas" | "bytes">,
  blockSize: number,
): PrefixEntry {
  const { namespace, salt } = key;
  const stop = start + blockSize;
  return {
    ...held,
    group: { namespace, salt, tokenIds: key.tokenIds.slice(start, stop), parent: parent?.group },
    namespace,
    key: groupName(key, start, stop),
    siblings,
    parent,
    children: new Map(),
  };
}

/** Blocks of group `group` of an uncompressed sequence: [rows]. */
function groupBlocks(state: CacheState, sequence: SequenceSlot, group: number): Int32Array {
  const { host, blockSize, rows, arenaOfRow, numRows } = state;
  return rows.map((r) => {
    const row = sequence * numRows + r;
    const block = host.blockTables[row * host.maxBlocksPerRow + group]!;
    const { positions } = host.arenas[arenaOfRow[r]!]!;
    const isWhole = host.lengths[row]! >= (group + 1) * blockSize;
    if (!isWhole || positions[block * blockSize] !== group * blockSize)
      throw new KvCacheError(
        "invalid-argument",
        `Sequence ${sequence} does not hold all of its first ${(group + 1) * blockSize} tokens.`,
        { value: group, remedy: "Publish before releaseOutOfWindow, no more than is cached." },
      );
    return block;
  });
}
