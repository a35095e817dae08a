import { defineKernel, hostArray, type KvBatch, type Scorer, type Tensor } from "@kvcache/core";
import { forEachRow } from "../../src/batch-rows.ts";
import { positionOrder } from "../../src/position-order.ts";
import { gatherKeys } from "../../src/row-view.ts";
import { batchPositions } from "../layer-chunks/batch-positions.ts";
import { scorePart } from "../part-batch/score-part.ts";
import type { OpenKeySet } from "./key-set.ts";

export interface SelectBlockwiseParams {
  readonly batch: KvBatch;
  /** Scores what is kept so far together with the next block, as if nothing else were cached. */
  readonly scorer: Scorer;
  /** f32 [batch.totalSlots]: only +∞, protected, counts. */
  readonly scores: Tensor;
  /** u32 [batch.numRows], each ≤ the row's length. */
  readonly counts: Tensor;
  /** u32 [numRows + 1]: prefix sum of counts. */
  readonly indptr: Tensor;
  /** u32, at least indptr[numRows] entries: receives each row's kept slots, ascending. */
  readonly indices: Tensor;
  /** Tokens that are taken in at a time. */
  readonly block: number;
  /** The same scores, where they follow from the keys alone and can follow a set that changes. */
  readonly keySet?: OpenKeySet | undefined;
}

/**
 * Keeps a row's first `counts[r]` tokens, then takes in its other tokens block by block, in the order
 * of their positions, and each time keeps the best of all it has.
 */
export const selectBlockwise = defineKernel<SelectBlockwiseParams>({
  name: "select-blockwise",
  reference(params) {
    const { batch, scores, counts, indptr, indices } = params;
    const rowIndptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const positions = batchPositions(batch);
    const rows = Array.from(hostArray(counts, "u32"), (count, row): Row => {
      const [begin, end] = [rowIndptr[row]!, rowIndptr[row + 1]!];
      const order = positionOrder(positions.subarray(begin, end));
      const slots = order ?? Uint32Array.from({ length: end - begin }, (_, slot) => slot);
      const own = scoreOf.subarray(begin, end);
      return { count, protectedBy: own, kept: slots.slice(0, count), rest: slots.subarray(count) };
    });
    if (params.keySet) selectByKeys(batch, rows, params.block, params.keySet);
    else selectByScorer(params, rows);
    const starts = hostArray(indptr, "u32");
    const out = hostArray(indices, "u32");
    rows.forEach(({ kept }, row) => {
      out.set(kept.sort(), starts[row]!);
    });
  },
});

/** A row on its way: slots that are kept so far, and those that come, by position. */
interface Row {
  readonly count: number;
  /** +∞ where a slot is protected, [row length]. */
  readonly protectedBy: Float32Array;
  readonly rest: Uint32Array;
  kept: Uint32Array;
}

/** Keeps the best of what a row has and its next block, given their scores. */
function keepBest(row: Row, current: Uint32Array, scores: Float32Array): void {
  for (let i = 0; i < scores.length; i++)
    if (row.protectedBy[current[i]!] === Number.POSITIVE_INFINITY)
      scores[i] = Number.POSITIVE_INFINITY;
  row.kept = best(current, scores, row.count);
}

function withNext({ kept, rest }: Row, from: number, block: number): Uint32Array {
  const next = rest.subarray(from, from + block);
  const slots = new Uint32Array(kept.length + next.length);
  slots.set(kept);
  slots.set(next, kept.length);
  return slots;
}

function selectByScorer({ batch, scorer, block }: SelectBlockwiseParams, rows: readonly Row[]) {
  for (let from = 0; rows.some(({ rest }) => from < rest.length); from += block) {
    const current = rows.map((row) => withNext(row, from, block));
    const part = scorePart(scorer, batch, current);
    rows.forEach((row, r) => {
      keepBest(row, current[r]!, part.scores.subarray(part.indptr[r]!, part.indptr[r + 1]!));
    });
  }
}

function selectByKeys(batch: KvBatch, rows: readonly Row[], block: number, open: OpenKeySet): void {
  forEachRow(batch, ({ row: index, view }) => {
    const row = rows[index]!;
    if (row.rest.length === 0) return;
    const set = open(gatherKeys(view), batch.shape.headDim);
    for (const slot of row.kept) set.add(slot);
    for (let from = 0; from < row.rest.length; from += block) {
      const current = withNext(row, from, block);
      for (let i = row.kept.length; i < current.length; i++) set.add(current[i]!);
      keepBest(
        row,
        current,
        Float32Array.from(current, (slot) => set.score(slot)),
      );
      let survivor = 0;
      for (const slot of current)
        if (row.kept[survivor] === slot) survivor++;
        else set.remove(slot);
    }
  });
}

/** The `count` best of some slots, in their order; the earlier of equal ones. */
function best(slots: Uint32Array, scores: Float32Array, count: number): Uint32Array {
  if (slots.length <= count) return slots;
  const least = scores.slice().sort()[slots.length - count]!;
  let ties = count - scores.reduce((above, score) => above + (score > least ? 1 : 0), 0);
  return slots.filter((_, i) => scores[i]! > least || (scores[i] === least && ties-- > 0));
}
