import { blockBytes, KvCacheError, type SequenceSlot } from "@kvcache/core";
import type { CacheState } from "./cache-state.ts";
import type { PrefixEntry } from "./prefix-store.ts";

/** Throws `invalid-argument` unless the sequence has no token yet. */
export function checkEmpty(state: CacheState, sequence: SequenceSlot): void {
  if (state.host.nextPositions[sequence] !== 0)
    throw new KvCacheError("invalid-argument", `Sequence ${sequence} is not empty.`, {
      value: state.host.nextPositions[sequence],
      remedy: "Adopt a prefix before the first append.",
    });
}

/** One more sequence holds the entry's blocks. */
export function retainEntry({ pools }: CacheState, { blocks, arenas }: PrefixEntry): void {
  for (let i = 0; i < blocks.length; i++) pools[arenas[i]!]!.retain(blocks[i]!);
}

export function releaseEntry({ pools }: CacheState, { blocks, arenas }: PrefixEntry): void {
  for (let i = 0; i < blocks.length; i++) pools[arenas[i]!]!.release(blocks[i]!);
}

/** Bytes of one block in each of these arenas. */
export function bytesOfBlocks({ host }: CacheState, arenas: Uint8Array): number {
  const bytes = host.arenas.map((arena) => blockBytes(arena.layout));
  return arenas.reduce((sum, arena) => sum + bytes[arena]!, 0);
}
