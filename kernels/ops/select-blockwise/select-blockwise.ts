import { defineKernel, hostArray, type KvBatch, type Scorer, type Tensor } from "@kvcache/core";
import { positionOrder } from "../../src/position-order.ts";
import { batchPositions } from "../layer-chunks/batch-positions.ts";
import { scorePart } from "../part-batch/score-part.ts";

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
}

/**
 * Keeps a row's first `counts[r]` tokens, then takes in its other tokens block by block, in the order
 * of their positions, and each time keeps the best of all it has.
 */
export const selectBlockwise = defineKernel<SelectBlockwiseParams>({
  name: "select-blockwise",
  reference({ batch, scorer, scores, counts, indptr, indices, block }) {
    const rowIndptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const positions = batchPositions(batch);
    const rows = Array.from(hostArray(counts, "u32"), (count, row) => {
      const [begin, end] = [rowIndptr[row]!, rowIndptr[row + 1]!];
      const order = positionOrder(positions.subarray(begin, end));
      const slots = order ?? Uint32Array.from({ length: end - begin }, (_, slot) => slot);
      const kept: Uint32Array = slots.slice(0, count);
      return { count, begin, kept, rest: slots.subarray(count) };
    });
    for (let from = 0; rows.some(({ rest }) => from < rest.length); from += block) {
      const current = rows.map(({ kept, rest }) => {
        const next = rest.subarray(from, from + block);
        const slots = new Uint32Array(kept.length + next.length);
        slots.set(kept);
        slots.set(next, kept.length);
        return slots;
      });
      const part = scorePart(scorer, batch, current);
      rows.forEach((row, r) => {
        const own = part.scores.subarray(part.indptr[r]!, part.indptr[r + 1]!);
        for (let i = 0; i < own.length; i++)
          if (scoreOf[row.begin + current[r]![i]!] === Number.POSITIVE_INFINITY)
            own[i] = Number.POSITIVE_INFINITY;
        row.kept = best(current[r]!, own, row.count);
      });
    }
    const starts = hostArray(indptr, "u32");
    const out = hostArray(indices, "u32");
    rows.forEach(({ kept }, row) => {
      out.set(kept.sort(), starts[row]!);
    });
  },
});

/** The `count` best of some slots, in their order; the earlier of equal ones. */
function best(slots: Uint32Array, scores: Float32Array, count: number): Uint32Array {
  if (slots.length <= count) return slots;
  const least = scores.slice().sort()[slots.length - count]!;
  let ties = count - scores.reduce((above, score) => above + (score > least ? 1 : 0), 0);
  return slots.filter((_, i) => scores[i]! > least || (scores[i] === least && ties-- > 0));
}
