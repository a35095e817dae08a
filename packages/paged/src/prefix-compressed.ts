import type { PrefixKey, PrefixPin, SequenceSlot } from "@kvcache/core";
import type { SavedQueries } from "./cache-memory.ts";
import type { CacheState } from "./cache-state.ts";
import { compressedName } from "./prefix-key.ts";
import { bytesOfBlocks, checkEmpty, releaseEntry, retainEntry } from "./prefix-sharing.ts";
import type { PrefixEntry } from "./prefix-store.ts";
import { recountPromises, setPromise } from "./reservations.ts";
import { forEachBlock } from "./sequences.ts";

/** A compressed prompt: blocks, partly filled ones included, and what does not stand in them. */
interface CompressedEntry extends PrefixEntry {
  /** [numRows]. */
  readonly lengths: Int32Array;
  readonly nextPosition: number;
  readonly windowLength: number;
  readonly queries: SavedQueries;
}

/** Keeps the entry that is there when prompt and plan are known. */
export function publishCompressed(
  state: CacheState,
  sequence: SequenceSlot,
  key: PrefixKey,
  planFingerprint: string,
  pin?: PrefixPin,
): void {
  const { host, numRows, prefixes } = state;
  const siblings = prefixes.namespace(key.namespace, true)!;
  const name = compressedName(key, planFingerprint);
  const known = siblings.get(name);
  if (known) {
    prefixes.touch(known);
    if (pin) prefixes.pin(known, pin.milliseconds);
    return;
  }
  const blocks: number[] = [];
  const arenaOfBlock: number[] = [];
  forEachBlock(state, sequence, (index, arena) => {
    blocks.push(host.blockTables[index]!);
    arenaOfBlock.push(arena);
  });
  const queries = state.memory.saveQueries(sequence);
  const arenas = Uint8Array.from(arenaOfBlock);
  const entry: CompressedEntry = {
    namespace: key.namespace,
    group: undefined,
    key: name,
    siblings,
    parent: undefined,
    children: new Map(),
    blocks: Int32Array.from(blocks),
    arenas,
    bytes: bytesOfBlocks(state, arenas) + queries.byteLength,
    lengths: host.lengths.slice(sequence * numRows, (sequence + 1) * numRows),
    nextPosition: host.nextPositions[sequence]!,
    windowLength: state.windowLengths[sequence]!,
    queries,
    release: queries.release,
  };
  if (prefixes.insert(entry) && pin) prefixes.pin(entry, pin.milliseconds);
}

/** False also where sharing the entry would break a promise to somebody else. */
export function adoptCompressed(
  state: CacheState,
  sequence: SequenceSlot,
  key: PrefixKey,
  planFingerprint: string,
): boolean {
  checkEmpty(state, sequence);
  const { host, numRows, prefixes } = state;
  const entry = prefixes
    .namespace(key.namespace, false)
    ?.get(compressedName(key, planFingerprint)) as CompressedEntry | undefined;
  if (entry === undefined) return false;
  retainEntry(state, entry);
  host.lengths.set(entry.lengths, sequence * numRows);
  let next = 0;
  forEachBlock(state, sequence, (index) => {
    host.blockTables[index] = entry.blocks[next++]!;
  });
  const promised = state.promisedTokens[sequence]!;
  setPromise(state, sequence, Math.max(0, promised - entry.nextPosition));
  if (!recountPromises(state)) {
    forEachBlock(state, sequence, (index) => {
      host.blockTables[index] = -1;
    });
    releaseEntry(state, entry);
    host.lengths.fill(0, sequence * numRows, (sequence + 1) * numRows);
    setPromise(state, sequence, promised);
    recountPromises(state);
    return false;
  }
  prefixes.touch(entry);
  host.nextPositions[sequence] = entry.nextPosition;
  state.windowLengths[sequence] = entry.windowLength;
  state.isCompressed[sequence] = 1;
  entry.queries.restore(sequence);
  return true;
}
