import { type BudgetAllocator, sum } from "@kvcache/core";
import { evenShare, uniformCounts } from "@kvcache/kernels";

export interface UniformOptions {
  /**
   * A row keeps at least its protected tokens, also where a ratio asks for fewer (default). False
   * follows the target to the letter, as kvpress does: protected tokens can be lost.
   */
  readonly keepProtected?: boolean;
}

/**
 * Uniform — every row keeps the same number of tokens.
 * A row that is shorter than that keeps everything.
 * The rule of StreamingLLM, SnapKV and most others; no paper of its own. Differs from the paper: none.
 */
export const uniform = ({ keepProtected = true }: UniformOptions = {}): BudgetAllocator =>
  Object.freeze<BudgetAllocator>({
    name: "uniform",
    needs: [],
    resolve: (request) => sum(evenShare(request, keepProtected)),
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(uniformCounts, { batch, target, scores, keepProtected, counts }),
  });
