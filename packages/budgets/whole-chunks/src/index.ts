import { type BudgetAllocator, checkWholeNumber, sum } from "@kvcache/core";
import { chunkCounts, chunksForRatio, evenShare } from "@kvcache/kernels";

export interface WholeChunksOptions {
  /** Positions of a chunk. Default 20. */
  readonly chunk?: number;
  /** A row keeps at least its protected tokens, also where a ratio asks for fewer. Default true. */
  readonly keepProtected?: boolean;
}

/**
 * Whole chunks — a ratio is taken of the chunks, not of the tokens.
 * The best max(1, trunc(chunks × ratio)) chunks of a layer, the shorter last one counted as one;
 * a prompt shorter than a chunk, and targets in tokens or bytes, are shared out evenly.
 * Liu et al. 2025, arXiv:2502.00299. Differs from the paper: a target in tokens is spent whole.
 */
export function wholeChunks({
  chunk = 20,
  keepProtected = true,
}: WholeChunksOptions = {}): BudgetAllocator {
  checkWholeNumber("chunk", chunk, 1);
  return Object.freeze<BudgetAllocator>({
    name: "whole-chunks",
    needs: [],
    resolve(request) {
      const { target, lengths, nextPosition, protect } = request;
      if (!("ratio" in target) || nextPosition < chunk)
        return sum(evenShare(request, keepProtected));
      const tokens = chunk * chunksForRatio(nextPosition, chunk, target.ratio);
      const least = keepProtected ? protect.sinks + protect.recent : 0;
      return lengths.reduce(
        (total, length) => total + Math.min(length, Math.max(tokens, least)),
        0,
      );
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(chunkCounts, { batch, target, scores, chunk, keepProtected, counts }),
  });
}
