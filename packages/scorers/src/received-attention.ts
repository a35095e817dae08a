import {
  type CacheLayout,
  type Encoder,
  hostTensor,
  type KvBatch,
  numRows,
  type Observer,
  type Protect,
} from "@kvcache/core";
import { chunkAttention } from "@kvcache/kernels";
import { type PositionTable, positionTable, splitRows } from "./position-table.ts";
import { type RowTail, rowTail } from "./row-tail.ts";

/** Attention that the tokens of a sequence received within their chunks. */
export interface ReceivedAttentionObserver extends Observer {
  /** Records the work that completes it, for the sequence at an index of a batch. */
  received(encoder: Encoder, batch: KvBatch, sequenceIndex: number): PositionTable;
}

export const hasReceivedAttention = (observer: Observer): observer is ReceivedAttentionObserver =>
  "received" in observer;

export interface ReceivedAttentionOptions {
  /** Positions per chunk, counted from `ends.sinks`. */
  readonly chunk: number;
  /** Whether a last, shorter chunk is filled up; see the kernel. */
  readonly padded: boolean;
  /** Positions at both ends that belong to no chunk. */
  readonly ends: Protect;
}

/** Queries of so many tokens at least stay apart, so that cutting them off is exact. */
const depth = 256;

/**
 * Keeps queries until their chunk is complete. A cut deeper than 256 tokens ends a chunk where it
 * falls: what its tokens received from queries that are gone stays with them.
 */
export function receivedAttentionObserver(
  layout: CacheLayout,
  options: ReceivedAttentionOptions,
): ReceivedAttentionObserver {
  const { numLayers, numQueryHeads, headDim } = layout.shape;
  const tail = rowTail(numLayers, numQueryHeads * headDim);
  return observerOf(layout, options, tail, positionTable(numRows(layout.shape)));
}

function observerOf(
  layout: CacheLayout,
  options: ReceivedAttentionOptions,
  tail: RowTail,
  table: PositionTable,
): ReceivedAttentionObserver {
  const { numLayers, numKvHeads } = layout.shape;
  const { chunk, padded, ends } = options;

  /** Writes what the first `count` tokens of the tail received, chunk by chunk, to the table. */
  function attend(encoder: Encoder, batch: KvBatch, sequenceIndex: number, count: number): void {
    const first = tail.start;
    if (count <= 0) return;
    for (let layer = 0; layer < numLayers; layer++) {
      const rows = encoder.tensor("f32", numKvHeads * count);
      encoder.run(chunkAttention, {
        batch,
        sequenceIndex,
        layer,
        queries: hostTensor(tail.rows(layer, 0, count)),
        first,
        numQueries: count,
        chunk,
        padded,
        out: rows,
      });
      const outs = Array.from({ length: numKvHeads }, (_, head) =>
        hostTensor(table.range(layer * numKvHeads + head, first, first + count)),
      );
      encoder.run(splitRows, { rows, outs });
    }
  }

  return {
    observe(encoder, observation, batch) {
      const { start, tokenIds } = observation;
      tail.append(start, tokenIds.length, (layer) => observation.queries(layer));
      // Chunks begin behind the sinks.
      if (tail.start < ends.sinks) tail.drop(Math.min(ends.sinks, tail.end) - tail.start);
      const settled = tail.end - tail.start - Math.max(ends.recent, depth);
      const whole = Math.floor(settled / chunk) * chunk;
      if (whole <= 0) return;
      attend(encoder, batch, 0, whole);
      tail.drop(whole);
    },
    received(encoder, batch, sequenceIndex) {
      attend(encoder, batch, sequenceIndex, tail.end - tail.start - ends.recent);
      return table;
    },
    truncate: tail.truncate,
    fork: () => observerOf(layout, options, tail.clone(), table.clone()),
  };
}
