import { hostArray, hostTensor, indptrOf, type KvBatch } from "@kvcache/core";

/** The batch's first layer of every group of `groupLayers` layers of the model, as a batch. */
export function leadingLayers(batch: KvBatch, groupLayers: number): KvBatch {
  const groupOf = (layer: number) => Math.floor(layer / groupLayers);
  const isFirst = (_: number, index: number) =>
    index === 0 || groupOf(batch.layers[index]!) !== groupOf(batch.layers[index - 1]!);
  const layers = batch.layers.filter(isFirst);
  const indptr = hostArray(batch.rowIndptr, "u32");
  const heads = batch.shape.numKvHeads;
  const lengths = batch.sequences.flatMap((_, sequence) =>
    layers.flatMap((layer) =>
      Array.from({ length: heads }, (_, head) => {
        const index = sequence * batch.layers.length + batch.layers.indexOf(layer);
        const row = index * heads + head;
        return indptr[row + 1]! - indptr[row]!;
      }),
    ),
  );
  const rowIndptr = indptrOf(lengths);
  return {
    ...batch,
    layers,
    numRows: lengths.length,
    rowIndptr: hostTensor(rowIndptr),
    totalSlots: rowIndptr[lengths.length]!,
  };
}
