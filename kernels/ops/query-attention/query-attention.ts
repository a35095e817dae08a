import {
  defineKernel,
  groupSize,
  hostArray,
  hostTensor,
  type KvBatch,
  KvCacheError,
  type Tensor,
} from "@kvcache/core";
import { hostOf } from "../../src/batch-rows.ts";
import { countBelow, positionOrder } from "../../src/position-order.ts";
import { dotRows, type Matrix, softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions, type RowView, rowView } from "../../src/row-view.ts";

/** Positions from … to − 1. */
export interface PositionRange {
  readonly from: number;
  readonly to: number;
}

export interface QueryAttentionParams {
  readonly batch: KvBatch;
  /** Index of the sequence in the batch, and the layer, whose keys are looked at. */
  readonly sequenceIndex: number;
  readonly layer: number;
  /** f32 [count, numQueryHeads × headDim], after RoPE. */
  readonly queries: Tensor;
  /** Position of the first query; the others follow. */
  readonly start: number;
  /** f32 [count], ≥ 0: what each query's weights are multiplied by. Default: nothing. */
  readonly factors?: Tensor | undefined;
  /** Positions of the keys that take part in the softmax, ascending, apart from each other. */
  readonly seen: readonly PositionRange[];
  /** Positions whose weights are wanted. */
  readonly scored: PositionRange;
  /** How a weight joins what the table holds. */
  readonly reduce: "max" | "sum";
  /** f32 [numQueryHeads, width], changed in place: entry [head, position], width > every scored one. */
  readonly table: Tensor;
  readonly width: number;
  /** Factor on the logits. Default 1 / √headDim. */
  readonly scale?: number;
}

/**
 * Attention that given queries pay to cached tokens, per query head, gathered by position: softmax
 * over the seen keys not after the query, times the query's factor; the maximum or the sum over the
 * queries joins the table. Throws `invalid-argument` for tensors that do not fit each other.
 */
export const queryAttention = defineKernel<QueryAttentionParams>({
  name: "query-attention",
  reference(params) {
    const settings = settle(params);
    const { batch, sequence, layer, seen } = settings;
    for (let head = 0; head < batch.shape.numKvHeads; head++) {
      const row = rowView(hostOf(batch), sequence, layer, head);
      addHead(settings, head, seenKeys(row, seen, batch.shape.headDim));
    }
  },
  native(params) {
    const { batch, count, scale, sequence, layer, start, width, scored, reduce } = settle(params);
    const { queries, factors, table, seen } = params;
    return {
      cache: hostOf(batch),
      inputs: [
        queries,
        factors ?? hostTensor(new Float32Array(count).fill(1)),
        hostTensor(Int32Array.from(seen.flatMap(({ from, to }) => [from, to]))),
        table,
      ],
      outputs: [table],
      integers: [
        table.length,
        sequence,
        layer,
        start,
        width,
        scored.from,
        scored.to,
        reduce === "max" ? 0 : 1,
      ],
      floats: [scale],
    };
  },
});

type Settings = ReturnType<typeof settle>;

/** Fills in defaults and checks that the tensors fit. */
function settle(params: QueryAttentionParams) {
  const { batch, width, scored } = params;
  const { numQueryHeads, headDim } = batch.shape;
  const count = params.queries.length / (numQueryHeads * headDim);
  const fits =
    Number.isInteger(count) &&
    (params.factors?.length ?? count) === count &&
    params.table.length === numQueryHeads * width &&
    scored.from >= 0 &&
    scored.to <= width;
  if (!fits)
    throw new KvCacheError("invalid-argument", "Queries, factors, table and range do not fit.", {
      value: { queries: params.queries.length, table: params.table.length, width, scored },
      remedy: "Give [count, numQueryHeads × headDim] queries and a [numQueryHeads, width] table.",
    });
  return {
    scale: 1 / Math.sqrt(headDim),
    ...params,
    count,
    sequence: batch.sequences[params.sequenceIndex]!,
    queries: hostArray(params.queries, "f32"),
    factors: params.factors && hostArray(params.factors, "f32"),
    table: hostArray(params.table, "f32"),
  };
}

interface SeenKeys {
  /** Ascending. */
  readonly positions: Int32Array;
  /** [positions.length, headDim]. */
  readonly keys: Matrix;
}

/** The row's keys at the positions of the ranges, by position. */
function seenKeys(row: RowView, ranges: readonly PositionRange[], headDim: number): SeenKeys {
  const bySlot = gatherPositions(row);
  const order = positionOrder(bySlot) ?? bySlot.map((_, slot) => slot);
  const slots = order.filter((slot) =>
    ranges.some(({ from, to }) => bySlot[slot]! >= from && bySlot[slot]! < to),
  );
  const keys = gatherKeys(row);
  const data = new Float64Array(slots.length * headDim);
  slots.forEach((slot, j) => {
    data.set(keys.subarray(slot * headDim, (slot + 1) * headDim), j * headDim);
  });
  return {
    positions: Int32Array.from(slots, (slot) => bySlot[slot]!),
    keys: { data, stride: headDim },
  };
}

/** Lets the queries of one KV head's group look at its keys. */
function addHead(settings: Settings, head: number, { positions, keys }: SeenKeys): void {
  const { batch, count, scale, factors, queries, table, width, start, scored, reduce } = settings;
  const { numQueryHeads, headDim } = batch.shape;
  const perGroup = groupSize(batch.shape);
  const weights = {
    data: new Float64Array(perGroup * positions.length),
    stride: positions.length,
  };
  const [first, end] = [countBelow(positions, scored.from), countBelow(positions, scored.to)];
  for (let i = 0; i < count; i++) {
    const visible = countBelow(positions, start + i + 1);
    const from = (i * numQueryHeads + head * perGroup) * headDim;
    const own = new Float64Array(queries.subarray(from, from + perGroup * headDim));
    dotRows({ data: own, stride: headDim }, perGroup, keys, visible, headDim, weights);
    for (let member = 0; member < perGroup; member++) {
      const at = member * positions.length;
      for (let j = at; j < at + visible; j++) weights.data[j]! *= scale;
      softmaxInPlace(weights.data, at, visible);
      const line = (head * perGroup + member) * width;
      for (let j = first; j < Math.min(end, visible); j++) {
        const entry = line + positions[j]!;
        const weight = weights.data[at + j]! * (factors?.[i] ?? 1);
        table[entry] = reduce === "max" ? Math.max(table[entry]!, weight) : table[entry]! + weight;
      }
    }
  }
}
