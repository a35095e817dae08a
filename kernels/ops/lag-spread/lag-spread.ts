import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { type BatchRow, batchInputs, forEachRow } from "../../src/batch-rows.ts";
import { positionOrder } from "../../src/position-order.ts";
import { softmaxInPlace } from "../../src/row-math.ts";
import { gatherKeys, gatherPositions, gatherValues } from "../../src/row-view.ts";

export interface LagSpreadParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** First tokens of a row that no partition holds. */
  readonly sinks: number;
  /** Tokens of a partition. */
  readonly lag: number;
  /** Scores compete across partitions; else a token's rank within its own counts. */
  readonly crossScoring: boolean;
}

/**
 * How far a token's channels spread against the range that the next `lag` tokens of its row span.
 * Per partition: min and max of every channel over the next partition, standard deviation over the
 * normalised channels of a token, softmax over the partition; the mean of keys' and values'. A
 * constant channel counts as 0. Sinks, the last whole partition and what is behind it score above 1,
 * later ones more; so do, above 0, the tokens of a row too short for two partitions.
 */
export const lagSpread = defineKernel<LagSpreadParams>({
  name: "lag-spread",
  reference(params) {
    const scores = hostArray(params.out, "f32");
    forEachRow(params.batch, (row) => {
      const order = positionOrder(gatherPositions(row.view));
      const byPosition = rowScores(params, row, order);
      for (let j = 0; j < byPosition.length; j++)
        scores[row.begin + (order ? order[j]! : j)] = byPosition[j]!;
    });
  },
  native: ({ batch, out, sinks, lag, crossScoring }) => ({
    ...(batch.host && { cache: batch.host }),
    inputs: batchInputs(batch),
    outputs: [out],
    integers: [
      out.length,
      batch.sequences.length,
      batch.layers.length,
      sinks,
      lag,
      Number(crossScoring),
    ],
    floats: [],
  }),
});

/** Scores of a row's tokens in position order. */
function rowScores(
  { batch, sinks, lag, crossScoring }: LagSpreadParams,
  { view }: BatchRow,
  order: Uint32Array | undefined,
): Float64Array {
  const { length } = view;
  const out = new Float64Array(length);
  const partitions = Math.floor((length - sinks) / lag);
  const scored = partitions < 2 ? 0 : (partitions - 1) * lag;
  // Later tokens first where there is no room for all that score without a partition.
  const base = scored > 0 ? 1 : 0;
  for (let j = 0; j < length; j++)
    out[j] = j < sinks ? 2 : base + (j - sinks) / Math.max(1, length - sinks);
  if (scored === 0) return out;
  const { headDim } = batch.shape;
  const spread = new Float64Array(scored);
  for (const entries of [gatherKeys(view), gatherValues(view)]) {
    const ordered = order ? inOrder(entries, order, headDim) : entries;
    for (let start = 0; start < scored; start += lag) {
      const first = sinks + start;
      const parts = { first, next: first + lag, end: first + 2 * lag };
      addSpread(ordered, parts, headDim, spread.subarray(start, start + lag));
    }
  }
  for (let start = 0; start < scored; start += lag) {
    const part = spread.subarray(start, start + lag);
    out.set(crossScoring ? part : ranks(part).map((rank) => rank / lag), sinks + start);
  }
  return out;
}

/** Entries of slots order[0], order[1] … of a row: [length, width]. */
export function inOrder(entries: Float32Array, order: Uint32Array, width: number): Float32Array {
  const out = new Float32Array(entries.length);
  order.forEach((slot, j) => {
    out.set(entries.subarray(slot * width, (slot + 1) * width), j * width);
  });
  return out;
}

/** A partition [first, next) of a row's tokens, and the one behind it, [next, end). */
export interface Partitions {
  readonly first: number;
  readonly next: number;
  readonly end: number;
}

/** Adds half the softmax of a partition's deviations to `out`, [next − first]. */
export function addSpread(
  entries: Float32Array,
  { first, next, end }: Partitions,
  width: number,
  out: Float64Array,
): void {
  const least = new Float64Array(width).fill(Infinity);
  const most = new Float64Array(width).fill(-Infinity);
  for (let j = next; j < end; j++)
    for (let c = 0; c < width; c++) {
      const value = entries[j * width + c]!;
      if (value < least[c]!) least[c] = value;
      if (value > most[c]!) most[c] = value;
    }
  const scale = most.map((value, c) => (value > least[c]! ? 1 / (value - least[c]!) : 0));
  const deviations = new Float64Array(next - first);
  for (let j = first; j < next; j++) {
    let sum = 0;
    let squares = 0;
    for (let c = 0; c < width; c++) {
      const value = (entries[j * width + c]! - least[c]!) * scale[c]!;
      sum += value;
      squares += value * value;
    }
    const mean = sum / width;
    deviations[j - first] = Math.sqrt(Math.max(0, squares - sum * mean) / Math.max(1, width - 1));
  }
  softmaxInPlace(deviations, 0, deviations.length);
  for (let j = 0; j < out.length; j++) out[j]! += deviations[j]! / 2;
}

/** Rank of every value, 0 = smallest; equal values in order. */
export function ranks(values: Float64Array): Float64Array {
  const out = new Float64Array(values.length);
  Uint32Array.from(values.keys())
    .sort((a, b) => values[a]! - values[b]! || a - b)
    .forEach((j, rank) => {
      out[j] = rank;
    });
  return out;
}
