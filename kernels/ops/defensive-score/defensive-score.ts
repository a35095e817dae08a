import {
  type BudgetTarget,
  defineKernel,
  groupSize,
  hostArray,
  hostTensor,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { forEachRow, hostOf } from "../../src/batch-rows.ts";
import { checkPooling, type Pooling, pool } from "../../src/pooling.ts";
import {
  checkWindow,
  logitScale,
  type ObservedRow,
  observeRow,
  windowInputs,
} from "../../src/window-weights.ts";
import { defensiveScoreWgsl } from "./defensive-score.wgsl.ts";
import { firstStageLimit } from "./first-stage-limit.ts";

export interface DefensiveScoreParams {
  readonly batch: KvBatch;
  /** What the event aims at: bounds the first stage; nothing does where it is not known. */
  readonly target: BudgetTarget | undefined;
  /** f32 [batch.totalSlots]: size of what each token can add to the output. */
  readonly norms: Tensor;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  readonly window: number;
  readonly pooling: Pooling;
  /** Part of a row's mean attention that the first stage keeps. */
  readonly criticalMass: number;
  /**
   * Taken off the mass; "reference" measures it: attention to the last `window` tokens before the
   * window, averaged over the layer's query heads and queries.
   */
  readonly windowBias: number | "reference";
}

/**
 * Worst-case importance: the largest pooled attention that any query of the window and any query
 * head of the group pays to a token, not below the row's mean, times the token's share of its
 * position's norms. The tokens that carry the critical mass of the mean attention, and the window's
 * own, get the layer's maximum.
 */
export const defensiveScore = defineKernel<DefensiveScoreParams>({
  name: "defensive-score",
  reference(params) {
    const { batch, window } = params;
    checkWindow(batch, window);
    checkPooling(params.pooling);
    let layer: DefendedRow[] = [];
    forEachRow(batch, (row) => {
      layer.push(defend(params, observeRow(batch, row, window)));
      if (row.head < batch.shape.numKvHeads - 1) return;
      finishLayer(params, layer);
      layer = [];
    });
  },
  native(params) {
    const { batch, out, norms, window, pooling, criticalMass, windowBias } = params;
    checkWindow(batch, window);
    checkPooling(pooling);
    const limits = batch.nextPositions.map((next) => firstStageLimit(params, next));
    return {
      cache: hostOf(batch),
      inputs: [...windowInputs(batch), hostTensor(Int32Array.from(limits)), norms],
      outputs: [out],
      integers: [
        out.length,
        batch.sequences.length,
        batch.layers.length,
        window,
        pooling.kind === "avg" ? 1 : 2,
        pooling.size,
        Number(windowBias === "reference"),
      ],
      floats: [logitScale(batch), criticalMass, windowBias === "reference" ? 0 : windowBias],
    };
  },
  wgsl: defensiveScoreWgsl,
});

interface DefendedRow {
  readonly observed: ObservedRow;
  /** Largest pooled attention, floored by its mean, [eligible]. */
  readonly worst: Float64Array;
  /** Mean attention over queries and group, [eligible]. */
  readonly mean: Float64Array;
  /** Attention to the last tokens before the window, summed over queries and group. */
  readonly recent: number;
}

function defend({ batch, window, pooling }: DefensiveScoreParams, observed: ObservedRow) {
  const { eligible, length, numQueries } = observed;
  const group = groupSize(batch.shape);
  const worst = new Float64Array(eligible);
  const mean = new Float64Array(eligible);
  let recent = 0;
  for (let member = 0; member < group; member++) {
    const weights = observed.weightsOf(member);
    for (let i = 0; i < numQueries; i++) {
      const row = weights.subarray(i * length, i * length + eligible);
      for (let j = 0; j < eligible; j++) mean[j] = mean[j]! + row[j]! / (group * numQueries);
      recent += total(row.subarray(Math.max(0, eligible - window)));
      const before = total(row);
      pool(row, eligible, pooling);
      const after = total(row);
      const factor = after > 0 ? before / after : 0;
      for (let j = 0; j < eligible; j++) worst[j] = Math.max(worst[j]!, row[j]! * factor);
    }
  }
  const floor = total(worst) / Math.max(1, eligible);
  return { observed, worst: worst.map((value) => Math.max(value, floor)), mean, recent };
}

function finishLayer(params: DefensiveScoreParams, layer: readonly DefendedRow[]): void {
  const out = hostArray(params.out, "f32");
  const norms = hostArray(params.norms, "f32");
  const { numQueryHeads } = params.batch.shape;
  const queries = layer[0]!.observed.numQueries;
  const measured = layer.reduce((sum, { recent }) => sum + recent, 0) / (numQueryHeads * queries);
  const bias = params.windowBias === "reference" ? measured : params.windowBias;

  const normOf = ({ observed }: DefendedRow, j: number) =>
    norms[observed.row.begin + observed.slotOf(j)]!;
  const normSums = new Map<number, number>();
  for (const row of layer)
    for (let j = 0; j < row.worst.length; j++) {
      const position = row.observed.positions[j]!;
      normSums.set(position, (normSums.get(position) ?? 0) + normOf(row, j));
    }
  let most = 0;
  for (const row of layer)
    for (let j = 0; j < row.worst.length; j++) {
      const sum = normSums.get(row.observed.positions[j]!)!;
      const share = sum > 0 ? normOf(row, j) / sum : 0;
      row.worst[j] = row.worst[j]! * share;
      most = Math.max(most, row.worst[j]!);
    }
  for (const row of layer) {
    for (const j of critical(params, row, params.criticalMass - bias)) row.worst[j] = most;
    const { row: own, length, slotOf } = row.observed;
    for (let j = 0; j < length; j++)
      out[own.begin + slotOf(j)] = j < row.worst.length ? row.worst[j]! : most;
  }
}

/** Tokens before the one that brings the sorted mean attention to `mass` of its sum. */
function critical(
  params: DefensiveScoreParams,
  { observed, mean }: DefendedRow,
  mass: number,
): number[] {
  const all = total(mean);
  const order = [...mean.keys()].sort((a, b) => mean[b]! - mean[a]! || a - b);
  let carried = 0;
  let count = 0;
  while (count < order.length) {
    carried += mean[order[count]!]! / all;
    if (carried >= mass) break;
    count++;
  }
  // Rounding can leave the whole row below a mass of 1: the reference then forces nothing.
  if (count === order.length) return [];
  const next = params.batch.nextPositions[observed.row.sequenceIndex]!;
  return order.slice(0, Math.min(count, firstStageLimit(params, next)));
}

function total(values: Float64Array): number {
  let sum = 0;
  for (const value of values) sum += value;
  return sum;
}
