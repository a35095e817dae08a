import { type BudgetTarget, type CacheLayout, targetTokens } from "@kvcache/core";
import type { PyramidCountsParams } from "./pyramid-counts.ts";
import { type PyramidSchedule, pyramidSchedule } from "./pyramid-schedule.ts";

/** The schedule of one sequence: tokens per row of every layer of the model. */
export function layerShares(
  { batch, target, beta, rule }: PyramidCountsParams,
  indptr: Uint32Array,
  sequence: number,
): readonly number[] {
  const { sinks, recent } = batch.protect;
  const rows = batch.layers.length * batch.shape.numKvHeads;
  const first = sequence * rows;
  let length = 0;
  for (let row = first; row < first + rows; row++)
    length = Math.max(length, indptr[row + 1]! - indptr[row]!);
  return pyramidSchedule({
    tokens: meanTokens(target, batch.nextPositions[sequence]!, batch.layout, rule),
    length,
    window: sinks + recent,
    numLayers: batch.shape.numLayers,
    beta,
    rule,
  });
}

/** Mean tokens per row that a target stands for: kvpress does not round a ratio's before it splits. */
export const meanTokens = (
  target: BudgetTarget,
  nextPosition: number,
  layout: CacheLayout,
  rule: PyramidSchedule["rule"],
): number =>
  "ratio" in target && rule === "kvpress"
    ? nextPosition * target.ratio
    : targetTokens(target, nextPosition, layout);
