import { hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { countProtected } from "../ops/uniform-counts/uniform-counts.ts";

/** One row of a layer, with its place in per-slot tables. */
export interface LayerRow {
  readonly row: number;
  readonly begin: number;
  readonly end: number;
  readonly length: number;
  /** Slots that score +∞. */
  readonly protectedSlots: number;
}

export interface SequenceLayers {
  /** Index of the sequence in the batch. */
  readonly sequence: number;
  readonly nextPosition: number;
  /** Rows of each layer of the batch. */
  readonly layers: readonly (readonly LayerRow[])[];
}

/** The batch's rows, sequence by sequence and layer by layer. */
export function layersOfSequences(batch: KvBatch, scores: Tensor): readonly SequenceLayers[] {
  const indptr = hostArray(batch.rowIndptr, "u32");
  const scoreOf = hostArray(scores, "f32");
  const heads = batch.shape.numKvHeads;
  return batch.sequences.map((_, sequence) => ({
    sequence,
    nextPosition: batch.nextPositions[sequence]!,
    layers: batch.layers.map((_, layer) =>
      Array.from({ length: heads }, (_, head) => {
        const row = (sequence * batch.layers.length + layer) * heads + head;
        const [begin, end] = [indptr[row]!, indptr[row + 1]!];
        const protectedSlots = countProtected(scoreOf, begin, end);
        return { row, begin, end, length: end - begin, protectedSlots };
      }),
    ),
  }));
}
