import { type BudgetAllocator, checkWholeNumber, sum } from "@kvcache/core";
import { evenShare, uniformCounts } from "@kvcache/kernels";

export interface UniformOptions {
  /**
   * A row keeps at least its protected tokens, also where a ratio asks for fewer (default). False
   * follows the target to the letter, as kvpress does: protected tokens can be lost.
   */
  readonly keepProtected?: boolean;
  /** Layers that keep everything, on top of what the others keep. Default none. */
  readonly skipLayers?: readonly number[];
}

/**
 * Uniform — every row keeps the same number of tokens.
 * A row that is shorter than that keeps everything.
 * The rule of StreamingLLM, SnapKV and most others; no paper of its own. Differs from the paper: none.
 */
export const uniform = (options: UniformOptions = {}): BudgetAllocator => {
  const { keepProtected = true, skipLayers = [] } = options;
  for (const layer of skipLayers) checkWholeNumber("skipLayers", layer, 0);
  return Object.freeze<BudgetAllocator>({
    name: "uniform",
    needs: [],
    keepsAllAtRatio1: true,
    resolve(request) {
      const { numKvHeads } = request.layout.shape;
      const shares = evenShare(request, keepProtected);
      return sum(
        shares.map((share, row) =>
          skipLayers.includes(Math.floor(row / numKvHeads)) ? request.lengths[row]! : share,
        ),
      );
    },
    allocate: (encoder, { batch, target, scores }, counts) =>
      encoder.run(uniformCounts, { batch, target, scores, keepProtected, skipLayers, counts }),
  });
};
