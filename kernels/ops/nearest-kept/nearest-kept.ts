import { defineKernel, hostArray, type KeepSet, type KvBatch, type Tensor } from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { dotRows } from "../../src/row-math.ts";
import { gatherKeys } from "../../src/row-view.ts";

export interface NearestKeptParams {
  readonly batch: KvBatch;
  readonly keep: KeepSet;
  /** u32 [batch.totalSlots]: for a slot that goes, the kept slot of its row whose key is nearest. */
  readonly nearest: Tensor;
  /** f32 [batch.totalSlots]: the cosine of the two keys; both are 0 for kept slots. */
  readonly similarity: Tensor;
}

/** Keys shorter than this count as this long, so that cosines stay finite. */
const leastNorm = 1e-6;
/** Evicted tokens that are compared at a time. */
const panel = 32;

/** The kept token with the most similar key, the lower slot where equal, of every one that goes. */
export const nearestKept = defineKernel<NearestKeptParams>({
  name: "nearest-kept",
  reference({ batch, keep, nearest, similarity }) {
    const indptr = hostArray(keep.indptr, "u32");
    const indices = hostArray(keep.indices, "u32");
    const nearestOf = hostArray(nearest, "u32").fill(0);
    const similarityOf = hostArray(similarity, "f32").fill(0);
    const width = batch.shape.headDim;
    forEachRow(batch, ({ row, view, begin }) => {
      const kept = indices.subarray(indptr[row]!, indptr[row + 1]!);
      const evicted = complement(view.length, kept);
      if (evicted.length === 0 || kept.length === 0) return;
      const keys = gatherKeys(view);
      const rows = { data: unitKeys(keys, width, kept), stride: width };
      const all = unitKeys(keys, width, evicted);
      const cosines = { data: new Float64Array(panel * kept.length), stride: kept.length };
      for (let first = 0; first < evicted.length; first += panel) {
        const count = Math.min(panel, evicted.length - first);
        const vectors = { data: all.subarray(first * width), stride: width };
        dotRows(vectors, count, rows, kept.length, width, cosines);
        for (let i = 0; i < count; i++) {
          let best = 0;
          const at = i * kept.length;
          for (let j = 1; j < kept.length; j++)
            if (cosines.data[at + j]! > cosines.data[at + best]!) best = j;
          nearestOf[begin + evicted[first + i]!] = kept[best]!;
          similarityOf[begin + evicted[first + i]!] = cosines.data[at + best]!;
        }
      }
    });
  },
  native: ({ batch, keep, nearest, similarity }) => ({
    cache: hostOf(batch),
    inputs: [...batchInputs(batch), keep.indptr, keep.indices],
    outputs: [nearest, similarity],
    integers: [nearest.length, similarity.length, batch.sequences.length, batch.layers.length],
    floats: [],
  }),
});

/** Slots 0 … length − 1 that are not kept; `kept` ascends. */
export function complement(length: number, kept: Uint32Array): Uint32Array {
  const evicted = new Uint32Array(length - kept.length);
  let at = 0;
  let next = 0;
  for (let slot = 0; slot < length; slot++)
    if (kept[next] === slot) next++;
    else evicted[at++] = slot;
  return evicted;
}

function unitKeys(keys: Float32Array, width: number, slots: Uint32Array): Float64Array {
  const units = new Float64Array(slots.length * width);
  slots.forEach((slot, i) => {
    let squares = 0;
    for (let c = slot * width; c < (slot + 1) * width; c++) squares += keys[c]! * keys[c]!;
    const length = Math.max(Math.sqrt(squares), leastNorm);
    for (let c = 0; c < width; c++) units[i * width + c] = keys[slot * width + c]! / length;
  });
  return units;
}
