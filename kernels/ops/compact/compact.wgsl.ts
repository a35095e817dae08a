import type { WgslBuffer, WgslDispatch } from "@kvcache/core";
import { forEachCode, workgroupsFor } from "../../src/wgsl-thread.ts";

const code = forEachCode(/* wgsl */ `
  let words = params.entryWords;
  let pair = i / (2u * words + 3u);
  let part = i % (2u * words + 3u);
  let source = u32(moves[2u * pair]);
  let goal = u32(moves[2u * pair + 1u]);
  if (part < 2u * words) {
    // Keys of a block, then its values.
    let blockSize = params.blockSize;
    let within = part / words * blockSize * words + part % words;
    let sourceBase = source / blockSize * 2u * blockSize * words + source % blockSize * words;
    let goalBase = goal / blockSize * 2u * blockSize * words + goal % blockSize * words;
    blocks[goalBase + within] = blocks[sourceBase + within];
  } else {
    let base = (part - 2u * words) * params.numSlots;
    side[base + goal] = side[base + source];
  }
`);

export interface CompactWgslParams {
  /** Words of a key, and of a value. */
  readonly entryWords: number;
  readonly blockSize: number;
  readonly numSlots: number;
  /** i32 [numMoves, 2]: source, destination. */
  readonly moves: WgslBuffer;
  readonly numMoves: number;
  /** An arena's keys and values, and its positions and sums: see core's WgslArena. */
  readonly storage: WgslBuffer;
  readonly side: WgslBuffer;
}

/** The kernel `compact` for an arena on a device. */
export const compactWgsl = (params: CompactWgslParams): WgslDispatch => {
  const { entryWords, blockSize, numSlots, numMoves } = params;
  const count = numMoves * (2 * entryWords + 3);
  return {
    name: "compact",
    code,
    u32: { count, entryWords, blockSize, numSlots },
    reads: { moves: { buffer: params.moves, type: "i32" } },
    writes: {
      blocks: { buffer: params.storage, type: "u32" },
      side: { buffer: params.side, type: "u32" },
    },
    workgroups: workgroupsFor(count),
  };
};
