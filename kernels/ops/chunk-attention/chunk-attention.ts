import { defineKernel, groupSize, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { hostOf } from "../../src/batch-rows.ts";
import { entryStore } from "../../src/entry-store.ts";
import { dotRows, softmaxInPlace } from "../../src/row-math.ts";
import { gatherPositions, type RowView, rowView, slotOf } from "../../src/row-view.ts";

export interface ChunkAttentionParams {
  readonly batch: KvBatch;
  /** Index of the sequence in the batch, and the layer, whose keys are looked at. */
  readonly sequenceIndex: number;
  readonly layer: number;
  /** Queries after RoPE of positions first …, f32 [numQueries, numQueryHeads × headDim]. */
  readonly queries: Tensor;
  readonly first: number;
  readonly numQueries: number;
  /** Positions per chunk, counted from the first; the last chunk may be shorter. */
  readonly chunk: number;
  /**
   * Fills a shorter chunk up with keys of logit 0 and queries that see all alike, as the reference
   * implementation does.
   */
  readonly padded: boolean;
  /** f32 [numKvHeads, numQueries]: receives the sums of positions first …; 0 where not cached. */
  readonly out: Tensor;
}

/**
 * Attention that each token receives from all tokens of its chunk, later ones too: logits q·k,
 * unscaled; softmax over the chunk; summed over its queries, averaged over the query heads of a KV
 * head.
 */
export const chunkAttention = defineKernel<ChunkAttentionParams>({
  name: "chunk-attention",
  reference(params) {
    const { batch, sequenceIndex, layer, first, numQueries, chunk } = params;
    const { numKvHeads } = batch.shape;
    const sequence = batch.sequences[sequenceIndex]!;
    const all = hostArray(params.out, "f32").fill(0);
    for (let head = 0; head < numKvHeads; head++) {
      const out = all.subarray(head * numQueries, (head + 1) * numQueries);
      const row = rowView(hostOf(batch), sequence, layer, head);
      const positions = gatherPositions(row);
      const slots = slotsByPosition(positions, first, numQueries);
      for (let from = 0; from < numQueries; from += chunk) {
        const count = Math.min(chunk, numQueries - from);
        const cached: number[] = [];
        for (let i = from; i < from + count; i++) if (slots[i]! >= 0) cached.push(i);
        if (cached.length === 0) continue;
        const keys = keysAt(
          row,
          cached.map((i) => slots[i]!),
        );
        const sums = columnSums(params, head, from, count, keys, cached.length);
        cached.forEach((i, j) => {
          out[i] = sums[j]!;
        });
      }
    }
  },
  native({ batch, sequenceIndex, layer, queries, first, numQueries, chunk, padded, out }) {
    const sequence = batch.sequences[sequenceIndex]!;
    return {
      cache: hostOf(batch),
      inputs: [queries],
      outputs: [out],
      integers: [out.length, sequence, layer, first, numQueries, chunk, padded ? 1 : 0],
      floats: [],
    };
  },
});

/** Slot of each position first … first + count − 1, −1 where none. */
function slotsByPosition(positions: Int32Array, first: number, count: number): Int32Array {
  const slots = new Int32Array(count).fill(-1);
  positions.forEach((position, slot) => {
    if (position >= first && position < first + count) slots[position - first] = slot;
  });
  return slots;
}

/** Keys of some slots: f64 [slots.length, headDim]. */
function keysAt(row: RowView, slots: readonly number[]): Float64Array {
  const store = entryStore(row.arena, "key");
  const { blockSize } = row.arena.layout;
  const block = new Float32Array(blockSize * store.width);
  const out = new Float64Array(slots.length * store.width);
  let loaded = -1;
  slots.forEach((slot, j) => {
    const physical = slotOf(row, slot);
    const id = Math.floor(physical / blockSize);
    if (id !== loaded) store.readBlock(id, blockSize, block, 0);
    loaded = id;
    const at = (physical % blockSize) * store.width;
    out.set(block.subarray(at, at + store.width), j * store.width);
  });
  return out;
}

/** Attention received by `numKeys` keys from queries [from, from + count) of a head's group. */
function columnSums(
  { batch, queries, chunk, padded }: ChunkAttentionParams,
  head: number,
  from: number,
  count: number,
  keys: Float64Array,
  numKeys: number,
): Float64Array {
  const { numQueryHeads, headDim } = batch.shape;
  const input = hostArray(queries, "f32");
  const group = groupSize(batch.shape);
  const padding = padded ? chunk - count : 0;
  const sums = new Float64Array(numKeys).fill(padding / chunk);
  // A padding key has logit 0; one column stands for all of them.
  const stride = numKeys + 1;
  const logits = { data: new Float64Array(count * stride), stride };
  const rows = { data: new Float64Array(count * headDim), stride: headDim };
  for (let member = 0; member < group; member++) {
    for (let i = 0; i < count; i++) {
      const at = ((from + i) * numQueryHeads + head * group + member) * headDim;
      rows.data.set(input.subarray(at, at + headDim), i * headDim);
    }
    dotRows(rows, count, { data: keys, stride: headDim }, numKeys, headDim, logits);
    for (let i = 0; i < count; i++) {
      const row = logits.data.subarray(i * stride, (i + 1) * stride);
      row[numKeys] = padding > 0 ? Math.log(padding) : Number.NEGATIVE_INFINITY;
      softmaxInPlace(row, 0, stride);
      for (let j = 0; j < numKeys; j++) sums[j]! += row[j]! / group;
    }
  }
  return sums;
}
