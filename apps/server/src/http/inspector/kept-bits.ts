import type { HostCache, SequenceSlot } from "@kvcache/core";
import { rowView } from "@kvcache/kernels";

/** Which positions the rows of a sequence hold: one bit each, rows padded to whole bytes. */
export interface KeptBits {
  readonly positions: number;
  readonly bytes: Uint8Array;
}

export function keptBits(host: HostCache, slot: SequenceSlot): KeptBits {
  const { numLayers, numKvHeads } = host.layout.shape;
  const positions = host.nextPositions[slot]!;
  const rowBytes = Math.ceil(positions / 8);
  const bytes = new Uint8Array(numLayers * numKvHeads * rowBytes);
  for (let layer = 0; layer < numLayers; layer++)
    for (let head = 0; head < numKvHeads; head++) {
      const { arena, blocks, length } = rowView(host, slot, layer, head);
      const start = (layer * numKvHeads + head) * rowBytes;
      const { blockSize } = arena.layout;
      for (let j = 0; j < length; j++) {
        const block = blocks[Math.floor(j / blockSize)]!;
        const position = arena.positions[block * blockSize + (j % blockSize)]!;
        // A transform may number the kept entries anew: then there is no more to say than how many.
        if (position < positions) bytes[start + (position >> 3)]! |= 1 << (position & 7);
      }
    }
  return { positions, bytes };
}
