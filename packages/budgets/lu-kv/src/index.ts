import { type BudgetAllocator, KvCacheError, type KvShape, sum } from "@kvcache/core";
import { type BudgetCurve, curveCounts, curveTokens, evenShare } from "@kvcache/kernels";

export type { BudgetCurve } from "@kvcache/kernels";

export interface LuKVBudgetOptions {
  /** Of the model and scorer that the budget serves; a plan without it is refused. */
  readonly curve?: BudgetCurve | null;
  /** A row keeps at least its protected tokens (default); false lets them go, as kvpress does. */
  readonly keepProtected?: boolean;
}

/**
 * LU-KV — each head keeps what a curve, found offline, says for the target.
 * The curve names the fraction that every head evicts at each whole percentage of the target.
 * LU-KV 2026, arXiv:2602.08585. Differs from the paper: none; a target of 1 keeps everything.
 */
export function luKV({
  curve = null,
  keepProtected = true,
}: LuKVBudgetOptions = {}): BudgetAllocator {
  const checked = (shape: KvShape): BudgetCurve => {
    const wanted = [99, shape.numLayers, shape.numKvHeads];
    if (!curve)
      throw new KvCacheError("invalid-plan", "LU-KV needs the budget curve of the model.", {
        remedy: "Load one: see @kvcache/policy-lu-kv.",
      });
    if (!wanted.every((size, i) => size === curve.shape[i]))
      throw new KvCacheError(
        "invalid-plan",
        `The budget curve was made for another model: shape [${curve.shape}], not [${wanted}].`,
        { value: curve.shape, remedy: "Load the curve of this model." },
      );
    return curve;
  };
  return Object.freeze<BudgetAllocator>({
    name: "lu-kv",
    needs: [],
    checkShape: checked,
    resolve(request) {
      const { target, lengths, nextPosition, layout, protect } = request;
      const own = checked(layout.shape);
      // Throws for targets below what is protected.
      evenShare(request, keepProtected);
      const heads = layout.shape.numKvHeads;
      const least = keepProtected ? protect.sinks + protect.recent : 0;
      const counts = Array.from({ length: layout.shape.numLayers }, (_, layer) => [
        ...curveTokens(own, layer, heads, nextPosition, target, layout),
      ]).flat();
      return sum(lengths.map((length, row) => Math.min(length, Math.max(counts[row]!, least))));
    },
    allocate(encoder, { batch, target, scores }, counts) {
      const own = checked(batch.shape);
      encoder.run(curveCounts, { batch, target, curve: own, scores, keepProtected, counts });
    },
  });
}
