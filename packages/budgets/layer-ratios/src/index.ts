import {
  type BudgetAllocator,
  type BudgetRequest,
  type BudgetTarget,
  KvCacheError,
  type KvShape,
  sum,
  targetTokens,
} from "@kvcache/core";
import { copyLayers, evenShare } from "@kvcache/kernels";

export interface LayerRatiosOptions {
  /** Splits what a layer gets over its rows. */
  readonly budget: BudgetAllocator;
  /** Fractions kept by the layers, in proportion to each other. */
  readonly ratios: readonly number[];
}

/**
 * Layer ratios — layers keep different fractions of their tokens.
 * All are scaled alike, up to 1, until their mean is the target: a target of their mean keeps them.
 * The rule of kvpress' PerLayerCompressionPress; no paper of its own. Differs from the paper: none.
 */
export function layerRatios({ budget, ratios }: LayerRatiosOptions): BudgetAllocator {
  if (ratios.length === 0 || !ratios.every((ratio) => ratio > 0 && ratio <= 1))
    throw new KvCacheError("invalid-argument", "ratios must be fractions in (0, 1].", {
      value: ratios,
      remedy: "Give one for every layer, for example [1, 0.5, 0.25].",
    });
  if (budget.withoutTarget !== undefined)
    throw new KvCacheError(
      "invalid-plan",
      `Budget ${budget.name} keeps no fraction of a layer: ${budget.withoutTarget}.`,
      { value: budget.name, remedy: "Wrap a policy that takes a target." },
    );
  const checkShape = (shape: KvShape, fingerprint?: string) => {
    if (ratios.length !== shape.numLayers)
      throw new KvCacheError(
        "invalid-plan",
        `There are ${ratios.length} ratios for ${shape.numLayers} layers.`,
        { value: ratios, remedy: "Give one for every layer." },
      );
    budget.checkShape?.(shape, fingerprint);
  };
  return Object.freeze<BudgetAllocator>({
    name: "layer-ratios",
    needs: budget.needs,
    checkShape,
    resolve(request) {
      const { shape } = request.layout;
      checkShape(shape);
      // Throws for a target that the layers together cannot reach.
      evenShare(request, true);
      return targetsOf(ratios, request).reduce((total, target, layer) => {
        const lengths = new Uint32Array(request.lengths.length);
        const rows = [layer * shape.numKvHeads, (layer + 1) * shape.numKvHeads] as const;
        lengths.set(request.lengths.subarray(...rows), rows[0]);
        return total + budget.resolve({ ...request, lengths, target });
      }, 0);
    },
    allocate(encoder, context, counts) {
      const { batch } = context;
      checkShape(batch.shape);
      const { layout, protect } = batch;
      const targets = targetsOf(ratios, { target: context.target, layout, protect });
      for (const ratio of new Set(ratios)) {
        const layers = batch.layers.filter((layer) => ratios[layer] === ratio);
        if (layers.length === 0) continue;
        const target = targets[layers[0]!]!;
        const from = encoder.tensor("u32", batch.numRows);
        budget.allocate(encoder, { ...context, target }, from);
        encoder.run(copyLayers, { batch, layers, from, to: counts });
      }
    },
  });
}

/** The target of each layer; in tokens not below what must stay. */
function targetsOf(
  ratios: readonly number[],
  { target, layout, protect }: Pick<BudgetRequest, "target" | "layout" | "protect">,
): BudgetTarget[] {
  if ("ratio" in target) {
    const scale = scaleTo(ratios, target.ratio);
    return ratios.map((ratio) => ({ ratio: Math.min(1, times(ratio, scale)) }));
  }
  const tokens = targetTokens(target, 0, layout) / (sum(ratios) / ratios.length);
  const least = Math.max(1, protect.sinks + protect.recent);
  return ratios.map((ratio) => ({ tokens: Math.max(least, Math.trunc(tokens * ratio)) }));
}

/** A product without the last digits' noise, which would cost a token; the ratio itself at 1. */
const times = (ratio: number, scale: number) =>
  Math.abs(scale - 1) < 1e-12 ? ratio : Number((ratio * scale).toPrecision(12));

/** The factor that brings the mean of ratios, none of which passes 1, to `mean`. */
function scaleTo(ratios: readonly number[], mean: number): number {
  const falling = [...ratios].sort((a, b) => b - a);
  for (let whole = 0; whole < falling.length; whole++) {
    const scale = (mean * falling.length - whole) / sum(falling.slice(whole));
    if (scale * falling[whole]! <= 1) return scale;
  }
  return 1 / falling.at(-1)!;
}
