import { defineKernel, hostArray, type KeepSet, type KvBatch, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { entryStore } from "../../src/entry-store.ts";
import { gatherValues, type RowView, slotOf } from "../../src/row-view.ts";
import { complement } from "../nearest-kept/nearest-kept.ts";

export interface MergeValuesParams {
  readonly batch: KvBatch;
  readonly keep: KeepSet;
  /** u32 [batch.totalSlots]: the kept slot of its row that a slot which goes is merged into. */
  readonly nearest: Tensor;
  /** f32 [batch.totalSlots]: how like their keys are. */
  readonly similarity: Tensor;
  /** Least similarity of two tokens that are merged, in [0, 1]. */
  readonly threshold: number;
  /** Fraction of the evicted tokens of a row that are merged, the most similar ones, in (0, 1]. */
  readonly fraction: number;
}

/** Keeps weights finite where values are zero. */
const epsilon = 1e-6;

/**
 * Folds the value of every token that goes into that of its nearest kept token: value ← (value +
 * Σ w × evicted) / (1 + Σ w), with w = similarity × ‖evicted‖ / (‖evicted‖ + ‖value‖).
 */
export const mergeValues = defineKernel<MergeValuesParams>({
  name: "merge-values",
  reference({ batch, keep, nearest, similarity, threshold, fraction }) {
    const indptr = hostArray(keep.indptr, "u32");
    const indices = hostArray(keep.indices, "u32");
    const nearestOf = hostArray(nearest, "u32");
    const similarityOf = hostArray(similarity, "f32");
    forEachRow(batch, ({ row, view, begin, end }) => {
      const evicted = complement(view.length, indices.subarray(indptr[row]!, indptr[row + 1]!));
      if (evicted.length === 0 || evicted.length === view.length) return;
      const likeness = similarityOf.subarray(begin, end);
      const passes = gate(
        Float64Array.from(evicted, (slot) => likeness[slot]!),
        threshold,
        fraction,
      );
      fold(
        view,
        evicted.filter((slot) => passes(likeness[slot]!)),
        nearestOf.subarray(begin, end),
        likeness,
      );
    });
  },
});

/** Which similarities suffice: above the threshold, and among the `fraction` highest. */
function gate(similarity: Float64Array, threshold: number, fraction: number) {
  const ascending = similarity
    .map((value) => (value >= threshold ? value : Number.NEGATIVE_INFINITY))
    .sort();
  // The quantile between two ranks is interpolated; below the first that passes there is none.
  const rank = (1 - fraction) * (ascending.length - 1);
  const below = ascending[Math.floor(rank)]!;
  const above = ascending[Math.ceil(rank)]!;
  const least = Number.isFinite(below) ? below + (above - below) * (rank % 1) : below;
  return (value: number) => value >= threshold && value >= least;
}

function fold(
  view: RowView,
  merged: Uint32Array,
  nearest: Uint32Array,
  similarity: Float32Array,
): void {
  const values = gatherValues(view);
  const store = entryStore(view.arena, "value");
  const { width } = store;
  const sums = new Map<number, { weight: number; value: Float64Array }>();
  for (const slot of merged) {
    const target = nearest[slot]!;
    const sum = sums.get(target) ?? { weight: 0, value: new Float64Array(width) };
    sums.set(target, sum);
    const length = norm(values, slot, width);
    const weight =
      (Math.max(0, similarity[slot]!) * length) / (length + norm(values, target, width) + epsilon);
    sum.weight += weight;
    for (let c = 0; c < width; c++) sum.value[c]! += weight * values[slot * width + c]!;
  }
  const { blockSize } = view.arena.layout;
  const out = new Float32Array(width);
  for (const [slot, { weight, value }] of sums) {
    if (weight === 0) continue;
    for (let c = 0; c < width; c++) out[c] = (values[slot * width + c]! + value[c]!) / (1 + weight);
    const physical = slotOf(view, slot);
    store.write(Math.floor(physical / blockSize), physical % blockSize, out, 0);
  }
}

/** Euclidean norm of an entry. */
function norm(entries: Float32Array, slot: number, width: number): number {
  let squares = 0;
  for (let c = slot * width; c < (slot + 1) * width; c++) squares += entries[c]! * entries[c]!;
  return Math.sqrt(squares);
}
