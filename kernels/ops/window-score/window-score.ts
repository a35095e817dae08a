import {
  defineKernel,
  groupSize,
  hostArray,
  hostTensor,
  type KvBatch,
  type Tensor,
} from "@kvcache/core";
import { type BatchRow, batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { type Pooling, pool } from "../../src/pooling.ts";
import { countBelow, positionOrder } from "../../src/position-order.ts";
import { dotRows, type Matrix, softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions } from "../../src/row-view.ts";
import { windowScoreWgsl } from "./window-score.wgsl.ts";
import { type WindowSettings, windowSettings } from "./window-settings.ts";

export interface WindowScoreParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Last queries observed, ≤ the cache's windowSize; min(window, batch.windowLengths[s]) count. */
  readonly window: number;
  /** 2 squares the attention weights. Default 1. */
  readonly power?: 1 | 2;
  /** Weights of keys closer than this many positions to the query count as 0. Default 0. */
  readonly buffer?: number;
  readonly pooling?: Pooling | undefined;
  /** Over the queries of the window. */
  readonly rowReduce: "mean" | "sum";
  /** Over the query heads of a group. */
  readonly groupReduce: "mean" | "max" | "sum";
  /** Pools each query head before the group is reduced, not the result. Default false. */
  readonly poolFirst?: boolean;
  /** Reduces over all query heads of a layer: every KV head gets the same scores. Default false. */
  readonly allHeads?: boolean;
  /** With `poolFirst`: queries per slab; a slab is pooled before slabs are added. Default 0: all. */
  readonly slab?: number;
  /** The window's own tokens score 0 and do not enter the pooling. Default false. */
  readonly excludeWindow?: boolean;
  /** Factor on the logits. Default 1 / √headDim. */
  readonly scale?: number;
}

/**
 * Attention that the last queries pay to every cached token. Per query head and query: softmax over
 * all keys of the row whose position is not above the query's, raised to `power`, zeroed within
 * `buffer`; then reduced over queries, pooled along positions and reduced over query heads. A
 * window over the whole prompt gives full column sums (H2O); one query with `allHeads`, TOVA.
 * Throws `missing-signal` when the cache did not record the queries.
 */
export const windowScore = defineKernel<WindowScoreParams>({
  name: "window-score",
  reference(params) {
    const settings = windowSettings(params);
    const { batch, allHeads } = settings;
    const scores = hostArray(params.out, "f32");
    let layer: RowScores[] = [];
    forEachRow(batch, (row) => {
      layer.push(observe(settings, row));
      if (allHeads && row.head < batch.shape.numKvHeads - 1) return;
      if (allHeads) reduceByPosition(settings, layer);
      for (const rowScores of layer) finish(settings, rowScores, scores);
      layer = [];
    });
  },
  native(params) {
    const settings = windowSettings(params);
    const { batch, pooling, rowReduce, groupReduce } = settings;
    return {
      cache: hostOf(batch),
      inputs: [
        ...batchInputs(batch),
        hostTensor(Int32Array.from(batch.nextPositions)),
        hostTensor(Int32Array.from(batch.windowLengths)),
      ],
      outputs: [params.out],
      integers: [
        params.out.length,
        batch.sequences.length,
        batch.layers.length,
        settings.window,
        settings.power,
        settings.buffer,
        pooling === undefined ? 0 : pooling.kind === "avg" ? 1 : 2,
        pooling?.size ?? 0,
        rowReduce === "mean" ? 0 : 1,
        ["mean", "max", "sum"].indexOf(groupReduce),
        Number(settings.poolFirst),
        Number(settings.allHeads),
        settings.slab,
        Number(settings.excludeWindow),
      ],
      floats: [settings.scale],
    };
  },
  wgsl: windowScoreWgsl,
});

/** A row's tokens in position order. */
interface RowScores {
  readonly row: BatchRow;
  /** order[j] = slot of the j-th token; undefined where it is j. */
  readonly order: Uint32Array | undefined;
  readonly positions: Int32Array;
  /** Tokens [0, eligible) are scored and pooled. */
  readonly eligible: number;
  /** Reduced over queries and, by sum or maximum, over the query heads of the group. */
  readonly totals: Float64Array;
}

function observe(settings: WindowSettings, row: BatchRow): RowScores {
  const { batch, power, slab, pooling, poolFirst } = settings;
  const { headDim } = batch.shape;
  const perGroup = groupSize(batch.shape);
  const next = batch.nextPositions[row.sequenceIndex]!;
  const observed = Math.min(settings.window, batch.windowLengths[row.sequenceIndex]!);
  const length = row.view.length;

  let positions = gatherPositions(row.view);
  let keys = gatherKeys(row.view);
  const order = positionOrder(positions);
  if (order) {
    const slots = positions;
    const unordered = keys;
    positions = positions.map((_, j) => slots[order[j]!]!);
    keys = new Float32Array(unordered.length);
    for (let j = 0; j < length; j++) {
      const slot = order[j]! * headDim;
      keys.set(unordered.subarray(slot, slot + headDim), j * headDim);
    }
  }

  const eligible = settings.excludeWindow ? countBelow(positions, next - observed) : length;
  const rows = { data: new Float64Array(keys), stride: headDim };
  const weights = { data: new Float64Array(perGroup * length), stride: length };
  const heads = new Float64Array(perGroup * length);
  const slabSize = slab || observed;
  for (let first = 0; first < observed; first += slabSize) {
    const sums = new Float64Array(perGroup * length);
    for (let i = first; i < Math.min(observed, first + slabSize); i++) {
      const position = next - observed + i;
      const visible = countBelow(positions, position + 1);
      const counted = Math.min(visible, countBelow(positions, position - settings.buffer + 1));
      dotRows(groupQueries(settings, row, position), perGroup, rows, visible, headDim, weights);
      for (let at = 0; at < perGroup * length; at += length) {
        for (let j = at; j < at + visible; j++) weights.data[j]! *= settings.scale;
        softmaxInPlace(weights.data, at, visible);
        for (let j = at; j < at + counted; j++) sums[j]! += weights.data[j]! ** power;
      }
    }
    for (let at = 0; at < perGroup * length; at += length) {
      if (pooling && poolFirst) pool(sums.subarray(at), eligible, pooling);
      for (let j = at; j < at + eligible; j++) heads[j]! += sums[j]!;
    }
  }
  const divisor = settings.rowReduce === "mean" ? observed : 1;
  const totals = new Float64Array(length);
  for (let member = 0; member < perGroup; member++)
    for (let j = 0; j < eligible; j++)
      totals[j] = combine(settings, totals[j]!, heads[member * length + j]! / divisor);
  return { row, order, positions, eligible, totals };
}

/** Queries of a row's group at one position, from the ring: [groupSize, headDim]. */
function groupQueries({ batch }: WindowSettings, row: BatchRow, position: number): Matrix {
  const { numLayers, numQueryHeads, headDim } = batch.shape;
  const { windowQueries, windowSize } = hostOf(batch);
  const ring = (row.sequence * numLayers + row.layer) * windowSize + (position % windowSize);
  const perGroup = groupSize(batch.shape);
  const start = (ring * numQueryHeads + row.head * perGroup) * headDim;
  const queries = windowQueries.subarray(start, start + perGroup * headDim);
  return { data: new Float64Array(queries), stride: headDim };
}

/** Attention is not negative, so 0 is the neutral start of a sum and of a maximum. */
const combine = ({ groupReduce }: WindowSettings, a: number, b: number): number =>
  groupReduce === "max" ? Math.max(a, b) : a + b;

/** Rows of a layer may hold different tokens: they meet by position. */
function reduceByPosition(settings: WindowSettings, layer: readonly RowScores[]): void {
  const merged = new Map<number, number>();
  for (const { positions, totals, eligible } of layer)
    for (let j = 0; j < eligible; j++)
      merged.set(positions[j]!, combine(settings, merged.get(positions[j]!) ?? 0, totals[j]!));
  for (const { positions, totals, eligible } of layer)
    for (let j = 0; j < eligible; j++) totals[j] = merged.get(positions[j]!)!;
}

function finish(settings: WindowSettings, scored: RowScores, out: Float32Array): void {
  const { row, order, eligible, totals } = scored;
  const { batch, allHeads, groupReduce, pooling, poolFirst } = settings;
  if (groupReduce === "mean") {
    const heads = allHeads ? batch.shape.numQueryHeads : groupSize(batch.shape);
    for (let j = 0; j < eligible; j++) totals[j] = totals[j]! / heads;
  }
  if (pooling && !poolFirst) pool(totals, eligible, pooling);
  for (let j = 0; j < totals.length; j++) out[row.begin + (order ? order[j]! : j)] = totals[j]!;
}
