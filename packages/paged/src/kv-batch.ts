import {
  type BatchOptions,
  hostTensor,
  indptrOf,
  type KvBatch,
  KvCacheError,
  type SequenceSlot,
} from "@kvcache/core";
import type { CacheState } from "./cache-state.ts";

/** The rows of open sequences. A layer that reads another's blocks shows that layer's rows. */
export function kvBatch(
  state: CacheState,
  sequences: readonly SequenceSlot[],
  { protect, phase, layers, observers, model }: BatchOptions,
): KvBatch {
  const { host, numRows, windowLengths } = state;
  const { shape, layerMap } = host.layout;
  const chosen = layers ?? layerMap.flatMap((owner, layer) => (owner === layer ? [layer] : []));
  if (chosen.some((layer, i) => layerMap[layer] === undefined || layer <= (chosen[i - 1] ?? -1)))
    throw new KvCacheError(
      "invalid-argument",
      `Layers of a batch must be ascending and below ${shape.numLayers}.`,
      { value: layers },
    );
  const lengths = sequences.flatMap((sequence) =>
    chosen.flatMap((layer) => {
      const row = sequence * numRows + layerMap[layer]! * shape.numKvHeads;
      return Array.from(host.lengths.subarray(row, row + shape.numKvHeads));
    }),
  );
  const rowIndptr = indptrOf(lengths);
  return Object.freeze({
    shape,
    layout: host.layout,
    sequences: [...sequences],
    layers: [...chosen],
    numRows: lengths.length,
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: rowIndptr[lengths.length]!,
    nextPositions: sequences.map((sequence) => host.nextPositions[sequence]!),
    windowLengths: sequences.map((sequence) => windowLengths[sequence]!),
    protect,
    phase,
    host,
    ...(observers && { observers }),
    ...(model && { model }),
  });
}
