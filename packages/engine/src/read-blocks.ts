import type {
  BackendSession,
  CacheManager,
  EvictionPolicy,
  HostCache,
  ModelView,
  SequenceSlot,
} from "@kvcache/core";
import type { Sequence } from "./sequence.ts";
import type { Feed } from "./step-assembler.ts";

/** Blocks that a step reads, per row of a sequence in the order of its batch; CSR. */
export interface BlockReads {
  readonly layers: readonly number[];
  readonly indptr: Uint32Array;
  readonly indices: Uint32Array;
}

export interface ReadingTools {
  readonly cache: CacheManager;
  readonly session: BackendSession;
  readonly view: ModelView;
}

/** Asks a policy's read selector what the next step of a sequence reads, before it is appended. */
export async function selectReads(
  { cache, session, view }: ReadingTools,
  { slot, observer }: Sequence,
  { readSelector, protect }: EvictionPolicy,
): Promise<BlockReads> {
  const batch = cache.batch([slot!], {
    protect,
    phase: "decode",
    observers: [observer],
    model: view,
  });
  const encoder = session.encoder();
  const { indptr, indices } = readSelector!.selectBlocks(encoder, batch);
  return {
    layers: batch.layers,
    indptr: (await encoder.read(indptr)) as Uint32Array,
    indices: (await encoder.read(indices)) as Uint32Array,
  };
}

/**
 * Lets a forward pass see only selected blocks, and the one that the new token is written to: their
 * rows shrink to these blocks until `restore` is called. Nothing may change the cache meanwhile.
 */
export function narrowReads(host: HostCache, feeds: readonly Feed[]): { restore(): void } {
  const undo: (() => void)[] = [];
  const restore = () => {
    for (const step of undo) step();
  };
  try {
    for (const { slot, reads } of feeds) if (reads) narrow(host, slot, reads, undo);
  } catch (error) {
    restore();
    throw error;
  }
  return { restore };
}

function narrow(
  { layout, lengths, blockTables, maxBlocksPerRow }: HostCache,
  slot: SequenceSlot,
  { layers, indptr, indices }: BlockReads,
  undo: (() => void)[],
): void {
  const { numLayers, numKvHeads } = layout.shape;
  for (let r = 0; r + 1 < indptr.length; r++) {
    const layer = layers[Math.floor(r / numKvHeads)]!;
    const row = (slot * numLayers + layer) * numKvHeads + (r % numKvHeads);
    const { blockSize } = layout.arenas[layout.arenaOfLayer[layer]!]!;
    const length = lengths[row]!;
    const last = Math.ceil(length / blockSize) - 1;
    const table = blockTables.subarray(row * maxBlocksPerRow, row * maxBlocksPerRow + last + 1);
    const whole = table.slice();
    // All blocks but the last are full, so a row of any of them before it is a row.
    const read = [...indices.subarray(indptr[r]!, indptr[r + 1]!)].filter((block) => block < last);
    [...read, last].forEach((block, i) => {
      table[i] = whole[block]!;
    });
    lengths[row] = length - (last - read.length) * blockSize;
    undo.push(() => {
      table.set(whole);
      lengths[row] = length;
    });
  }
}
