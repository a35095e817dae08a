import { type BudgetAllocator, checkWholeNumber, sum, tokensForRatio } from "@kvcache/core";
import { evenShare, shareCounts } from "@kvcache/kernels";

export interface ChunkSharesOptions {
  /** Positions of a chunk. Default 1024. */
  readonly chunk?: number;
}

/**
 * Chunk shares — every chunk of a prompt keeps the same fraction of its tokens.
 * A ratio keeps max(1, trunc(span × ratio)) of a chunk and at least what is protected in it; targets
 * in tokens or bytes are shared out evenly over the rows, and by the selector over their chunks.
 * The rule of kvpress' ChunkPress; no paper of its own. Differs from the paper: none.
 */
export function chunkShares({ chunk = 1024 }: ChunkSharesOptions = {}): BudgetAllocator {
  checkWholeNumber("chunk", chunk, 1);
  return Object.freeze<BudgetAllocator>({
    name: "chunk-shares",
    needs: [],
    resolve(request) {
      const { target, lengths, nextPosition, protect } = request;
      if (!("ratio" in target)) return sum(evenShare(request, true));
      const whole = Math.floor(nextPosition / chunk);
      const rest = nextPosition % chunk;
      const tokens =
        whole * tokensForRatio(chunk, target.ratio) +
        (rest > 0 ? tokensForRatio(rest, target.ratio) : 0);
      const most = tokens + protect.sinks + protect.recent;
      return lengths.reduce((total, length) => total + Math.min(length, most), 0);
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(shareCounts, { batch, target, scores, chunk, counts }),
  });
}
