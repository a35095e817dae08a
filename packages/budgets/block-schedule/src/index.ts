import { type BudgetAllocator, checkWholeNumber, KvCacheError, sum } from "@kvcache/core";
import {
  allowedBlocks,
  blockSchedule as blockScheduleKernel,
  blocksToEvict,
  commonBlockSize,
} from "@kvcache/kernels";

export interface BlockScheduleOptions {
  /** Last tokens that are kept, the one about to be cached included. Default 0. */
  readonly protectedWindow?: number;
  /** Blocks that every sequence gives back, in place of what its target asks for. */
  readonly evictBlocks?: number;
}

/**
 * Block schedule — evict what frees whole blocks, the cheapest blocks of a sequence first.
 * Freeing k blocks of a head takes its (k − 1) × blockSize + (tokens in its last block) cheapest
 * slots; its k-th block costs what the dearest of them costs. Pair it with a selector that evicts the
 * lower slot of two equal scores.
 * Rehg 2024, arXiv:2410.00161. Differs from the paper: ties are ordered (score, layer, head, slot),
 * no head is ever emptied.
 */
export function blockSchedule(options: BlockScheduleOptions = {}): BudgetAllocator {
  const { protectedWindow = 0, evictBlocks } = options;
  checkWholeNumber("protectedWindow", protectedWindow, 0);
  if (evictBlocks !== undefined) checkWholeNumber("evictBlocks", evictBlocks, 0);
  return Object.freeze<BudgetAllocator>({
    name: "block-schedule",
    needs: [],
    keepsAllAtRatio1: evictBlocks === undefined,
    resolve({ target, lengths, nextPosition, layout, protect }) {
      const blockSize = commonBlockSize(layout);
      const demand = { target, lengths, nextPosition, blockSize, protectedWindow, layout };
      const blocksOf = (tokens: number) => Math.ceil(tokens / blockSize);
      const held = lengths.reduce((blocks, length) => blocks + blocksOf(length), 0);
      const least = blocksOf(Math.max(1, protect.sinks + protect.recent));
      if (!("ratio" in target) && allowedBlocks(target, blockSize, layout) < least)
        throw new KvCacheError(
          "invalid-plan",
          `${JSON.stringify(target)} allows fewer than the ${least} blocks a row that must stay.`,
          { value: target, remedy: "Give a larger budget or protect fewer tokens." },
        );
      const fixed = lengths.reduce(
        (blocks, length) => blocks + Math.min(least, blocksOf(length)),
        0,
      );
      const left = Math.max(fixed, held - (evictBlocks ?? blocksToEvict(demand)));
      return Math.min(sum(lengths), left * blockSize);
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(blockScheduleKernel, {
        batch,
        target,
        scores,
        protectedWindow,
        evictBlocks,
        counts,
      }),
  });
}
