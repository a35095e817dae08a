import { cacheLayout, hostTensor, indptrOf, type KvBatch } from "@kvcache/core";

export interface ScoreTableOptions {
  /** Rows are grouped by this many heads into layers; 1 when absent. */
  readonly numKvHeads?: number;
  readonly blockSize?: number;
  /** The longest row of each sequence when absent. */
  readonly nextPositions?: readonly number[];
}

/**
 * A batch without a cache, for ops that look at scores only: sequences[s][row] is one row's scores,
 * rows in the order layer, head.
 */
export function scoreTable(
  sequences: readonly (readonly (readonly number[])[])[],
  { numKvHeads = 1, blockSize = 16, nextPositions }: ScoreTableOptions = {},
) {
  const rows = sequences.flat();
  const numLayers = sequences[0]!.length / numKvHeads;
  const shape = { numLayers, numQueryHeads: numKvHeads, numKvHeads, headDim: 1 };
  const rowIndptr = indptrOf(rows.map((row) => row.length));
  const longest = (own: readonly (readonly number[])[]) =>
    Math.max(...own.map((row) => row.length));
  const batch: KvBatch = {
    shape,
    layout: cacheLayout(shape, { blockSize }),
    sequences: sequences.map((_, index) => index),
    layers: Array.from({ length: numLayers }, (_, layer) => layer),
    numRows: rows.length,
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: rowIndptr[rows.length]!,
    nextPositions: nextPositions ?? sequences.map(longest),
    windowLengths: sequences.map(() => 0),
    protect: { sinks: 0, recent: 0 },
    phase: "prefill",
    host: undefined,
  };
  return { batch, scores: hostTensor(Float32Array.from(rows.flat())) };
}
