import {
  type BudgetAllocator,
  type BudgetTarget,
  type CacheLayout,
  checkWholeNumber,
  KvCacheError,
  type KvShape,
  type Protect,
  sum,
  targetTokens,
} from "@kvcache/core";
import { evenShare, groupBudgets, reviewWindowCounts } from "@kvcache/kernels";

export interface ReviewWindowsOptions {
  /** Tokens of a window. Default 8. */
  readonly windowSize?: number;
  /** Layers of a group, given the model's shape. Default {@link quarterOfLayers}. */
  readonly groupLayers?: (shape: KvShape) => number;
  /** The last group gets about its layers / beta of the mean; at least 1. Default 14. */
  readonly beta?: number;
}

/** A quarter of the model's layers, or 1 where that is no whole number. */
export const quarterOfLayers = ({ numLayers }: KvShape): number =>
  numLayers % 4 === 0 ? numLayers / 4 : 1;

/**
 * Review windows — groups of layers keep whole windows, fewer from group to group.
 * The target is what a layer keeps of the tokens before the protected ones; those come on top, except
 * of a target in bytes. Windows are chosen by their scores, equal inside a window.
 * Zuo et al. 2025, arXiv:2503.17922. Differs from the paper: budgets fall as in the authors' code; a
 * single group keeps the mean; ratio 1 keeps everything.
 */
export function reviewWindows(options: ReviewWindowsOptions = {}): BudgetAllocator {
  const { windowSize = 8, groupLayers = quarterOfLayers, beta = 14 } = options;
  checkWholeNumber("windowSize", windowSize, 1);
  if (!(beta >= 1 && Number.isFinite(beta)))
    throw new KvCacheError("invalid-argument", `beta must be at least 1, got ${beta}.`, {
      value: beta,
    });

  function checkShape(shape: KvShape): void {
    const layers = groupLayers(shape);
    if (Number.isInteger(layers) && layers >= 1 && shape.numLayers % layers === 0) return;
    throw new KvCacheError(
      "invalid-plan",
      `Groups of ${layers} layers do not divide a model of ${shape.numLayers}.`,
      { value: layers, remedy: "Choose a group size that does." },
    );
  }

  /** Review tokens of every layer of a sequence. */
  function layerBudgets(
    target: BudgetTarget,
    nextPosition: number,
    { sinks, recent }: Protect,
    layout: CacheLayout,
  ): readonly number[] {
    const { shape } = layout;
    checkShape(shape);
    if ("ratio" in target && target.ratio === 1)
      return new Array<number>(shape.numLayers).fill(nextPosition);
    const paid = targetTokens(target, nextPosition, layout);
    const tokens = "bytes" in target ? Math.max(0, paid - sinks - recent) : paid;
    const layers = groupLayers(shape);
    const groups = groupBudgets(tokens, shape.numLayers / layers, layers, beta);
    return groups.flatMap((budget) => new Array<number>(layers).fill(budget));
  }

  return Object.freeze<BudgetAllocator>({
    name: "review-windows",
    needs: [],
    checkShape,
    resolve(request) {
      const { target, lengths, nextPosition, layout, protect } = request;
      if ("bytes" in target) evenShare(request, true);
      const budgets = layerBudgets(target, nextPosition, protect, layout);
      const { numKvHeads } = layout.shape;
      const besides = protect.sinks + protect.recent;
      return sum(
        lengths.map((length, row) => {
          const budget = budgets[Math.floor(row / numKvHeads)]!;
          return Math.min(length, Math.max(1, besides + budget + windowSize - 1));
        }),
      );
    },
    allocate(encoder, { batch, target, scores }, counts) {
      const { nextPositions, protect, layout } = batch;
      const budgets = nextPositions.map((next) => layerBudgets(target, next, protect, layout));
      encoder.run(reviewWindowCounts, { batch, scores, windowSize, budgets, counts });
    },
  });
}
