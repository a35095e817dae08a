import { defineKernel, hostArray, type KeepSet, type KvBatch, type Tensor } from "@kvcache/core";
import { type BatchRow, forEachRow } from "../../src/batch-rows.ts";
import { entryStore } from "../../src/entry-store.ts";
import { countBelow } from "../../src/position-order.ts";
import { gatherPositions, gatherValues, slotOf } from "../../src/row-view.ts";
import { complement } from "../nearest-kept/nearest-kept.ts";

/** A token that goes, and the chance that its value is merged into its neighbours. */
export interface MergeCandidate {
  readonly sequenceIndex: number;
  readonly layer: number;
  readonly head: number;
  readonly position: number;
  /** Its attention over that of its neighbours, in [0, 1]. */
  readonly probability: number;
}

export interface MergeForwardParams {
  readonly batch: KvBatch;
  readonly keep: KeepSet;
  /** f32 [batch.totalSlots]: of the tokens that go, the best are merged. */
  readonly scores: Tensor;
  /** Tokens of each row that are merged, at most. */
  readonly merges: number;
  /** Kept tokens that follow a merged one and share its value, at most. */
  readonly neighbours: number;
  /** Whether a candidate is merged; called once for each, by row and then by position. */
  readonly draw: (candidate: MergeCandidate) => boolean;
}

/**
 * Adds the value of tokens that go to the values of the next kept tokens of the row, in equal parts,
 * with the probability that their attention so far (Σa) bears to the mean of those. Keys stay.
 */
export const mergeForward = defineKernel<MergeForwardParams>({
  name: "merge-forward",
  reference({ batch, keep, scores, merges, neighbours, draw }) {
    const indptr = hostArray(keep.indptr, "u32");
    const indices = hostArray(keep.indices, "u32");
    const scoreOf = hostArray(scores, "f32");
    forEachRow(batch, (row) => {
      const slots = indices.subarray(indptr[row.row]!, indptr[row.row + 1]!);
      const positions = gatherPositions(row.view);
      const byPosition = (a: number, b: number) => positions[a]! - positions[b]!;
      const kept = slots.slice().sort(byPosition);
      const keptPositions = Int32Array.from(kept, (slot) => positions[slot]!);
      const own = scoreOf.subarray(row.begin, row.end);
      // Of equal scores the later token is merged.
      const candidates = complement(row.view.length, slots)
        .sort((a, b) => own[b]! - own[a]! || byPosition(b, a))
        .subarray(0, merges)
        .sort(byPosition);
      const added = new Map<number, Float64Array>();
      const values = gatherValues(row.view);
      const width = values.length / Math.max(1, row.view.length);
      for (const slot of candidates) {
        const from = countBelow(keptPositions, positions[slot]! + 1);
        const targets = kept.subarray(from, from + neighbours);
        const { sequenceIndex, layer, head } = row;
        const probability = mergeProbability(row, slot, targets);
        const position = positions[slot]!;
        if (!draw({ sequenceIndex, layer, head, position, probability })) continue;
        for (const target of targets) {
          const sum = added.get(target) ?? new Float64Array(width);
          added.set(target, sum);
          for (let c = 0; c < width; c++) sum[c]! += values[slot * width + c]! / targets.length;
        }
      }
      write(row, values, added);
    });
  },
});

/** 0 where nobody looked at the token, 1 where nobody looked at its neighbours only. */
function mergeProbability({ view }: BatchRow, slot: number, targets: Uint32Array): number {
  const attention = (j: number) => view.arena.sumAttention[slotOf(view, j)]!;
  const own = attention(slot);
  if (own === 0) return 0;
  const total = targets.reduce((sum, target) => sum + attention(target), 0);
  return Math.min(1, own / (total / Math.max(1, targets.length)));
}

function write(
  { view }: BatchRow,
  values: Float32Array,
  added: ReadonlyMap<number, Float64Array>,
): void {
  const store = entryStore(view.arena, "value");
  const { blockSize } = view.arena.layout;
  for (const [slot, sum] of added) {
    const value = values.subarray(slot * store.width, (slot + 1) * store.width);
    const merged = Float32Array.from(value, (old, c) => old + sum[c]!);
    const physical = slotOf(view, slot);
    store.write(Math.floor(physical / blockSize), physical % blockSize, merged, 0);
  }
}
