import {
  type HostCache,
  hostArray,
  hostTensor,
  type KvBatch,
  KvCacheError,
  type SequenceSlot,
  type Tensor,
} from "@kvcache/core";
import { type RowView, rowView } from "./row-view.ts";

/** A row of a batch: entries [begin, end) of every per-slot table belong to it. */
export interface BatchRow {
  readonly row: number;
  /** Index of its sequence in the batch; `sequence` is the sequence's slot in the cache. */
  readonly sequenceIndex: number;
  readonly sequence: SequenceSlot;
  readonly layer: number;
  readonly head: number;
  readonly begin: number;
  readonly end: number;
  readonly view: RowView;
}

/** The batch's memory. Throws `unsupported` when it lives on a device. */
export function hostOf(batch: KvBatch): HostCache {
  if (batch.host === undefined)
    throw new KvCacheError("unsupported", "This batch's cache lives on a device.", {
      remedy: "Use a backend that has its own implementation of the kernel.",
    });
  return batch.host;
}

/** Visits the rows of a batch in host memory, in order. */
export function forEachRow(batch: KvBatch, visit: (row: BatchRow) => void): void {
  const host = hostOf(batch);
  const indptr = hostArray(batch.rowIndptr, "u32");
  const { numKvHeads } = batch.shape;
  let row = 0;
  batch.sequences.forEach((sequence, sequenceIndex) => {
    for (const layer of batch.layers)
      for (let head = 0; head < numKvHeads; head++, row++) {
        const begin = indptr[row]!;
        const end = indptr[row + 1]!;
        const view = rowView(host, sequence, layer, head);
        if (view.length !== end - begin)
          throw new KvCacheError(
            "internal",
            `Row ${row} of the batch has ${end - begin} entries, the cache holds ${view.length}.`,
            { value: { sequence, layer, head } },
          );
        visit({ row, sequenceIndex, sequence, layer, head, begin, end, view });
      }
  });
}

/** What every native call over a batch starts with: rowIndptr, sequences [S], layers [Lb]. */
export const batchInputs = (batch: KvBatch): readonly Tensor[] => [
  batch.rowIndptr,
  hostTensor(Int32Array.from(batch.sequences)),
  hostTensor(Int32Array.from(batch.layers)),
];
