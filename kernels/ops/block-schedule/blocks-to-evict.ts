import {
  type BudgetTarget,
  type CacheLayout,
  hostArray,
  KvCacheError,
  sequenceTokenBytes,
} from "@kvcache/core";
import type { BlockScheduleParams } from "./block-schedule.ts";

export interface BlockDemand {
  readonly target: BudgetTarget;
  /** Tokens in every row of one sequence. */
  readonly lengths: ArrayLike<number>;
  /** Position of the sequence's next token: its true length so far. */
  readonly nextPosition: number;
  readonly blockSize: number;
  /** Last tokens that are kept, the one about to be cached included. */
  readonly protectedWindow: number;
  readonly layout: CacheLayout;
}

/**
 * Whole blocks that one sequence gives back to reach its target. A token target allows
 * rows × ⌈tokens / blockSize⌉ blocks (bytes: rounded down); a ratio holds for what lies beyond the
 * protected window rounded up to blocks, of the true length with the token about to be cached.
 */
export function blocksToEvict(demand: BlockDemand): number {
  const { target, lengths, blockSize, protectedWindow } = demand;
  const rows = lengths.length;
  if ("ratio" in target) {
    const window = Math.ceil(protectedWindow / blockSize) * blockSize;
    const compressible = demand.nextPosition + 1 - window;
    if (compressible <= 0) return 0;
    const wanted = Math.ceil(compressible * rows * target.ratio) + window * rows;
    let cached = 0;
    for (let row = 0; row < rows; row++) cached += lengths[row]!;
    return Math.ceil(Math.max(0, cached - wanted) / blockSize);
  }
  let blocks = 0;
  for (let row = 0; row < rows; row++) blocks += Math.ceil(lengths[row]! / blockSize);
  return Math.max(0, blocks - allowedBlocks(target, blockSize, demand.layout) * rows);
}

/** Blocks that each sequence of the batch gives back, u32 [sequences]. */
export function wantedBlocks({
  batch,
  target,
  protectedWindow,
  evictBlocks,
}: BlockScheduleParams): Uint32Array {
  const indptr = hostArray(batch.rowIndptr, "u32");
  const { layout } = batch;
  const blockSize = commonBlockSize(layout);
  const rows = batch.layers.length * batch.shape.numKvHeads;
  return Uint32Array.from(batch.nextPositions, (nextPosition, sequence) => {
    if (evictBlocks !== undefined) return evictBlocks;
    const lengths = Array.from({ length: rows }, (_, row) => {
      const at = sequence * rows + row;
      return indptr[at + 1]! - indptr[at]!;
    });
    return blocksToEvict({ target, lengths, nextPosition, blockSize, protectedWindow, layout });
  });
}

/** Blocks of each row, on average, that a target in tokens (rounded up) or bytes (down) allows. */
export const allowedBlocks = (
  target: Exclude<BudgetTarget, { ratio: number }>,
  blockSize: number,
  layout: CacheLayout,
): number =>
  "tokens" in target
    ? Math.ceil(target.tokens / blockSize)
    : Math.floor(target.bytes / sequenceTokenBytes(layout) / blockSize);

/** The one block size of a layout's arenas. Throws `unsupported` when they differ. */
export function commonBlockSize(layout: CacheLayout): number {
  const sizes = new Set(layout.arenas.map((arena) => arena.blockSize));
  if (sizes.size !== 1)
    throw new KvCacheError(
      "unsupported",
      `Budgets in whole blocks need one block size, this cache has ${[...sizes].join(", ")}.`,
      { value: [...sizes], remedy: "Give all arenas the same blockSize." },
    );
  return layout.arenas[0]!.blockSize;
}
