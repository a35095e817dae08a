import { groupSize, type KvShape } from "@kvcache/core";
import { leadingDirection } from "./leading-direction.ts";
import {
  checkModelFingerprint,
  checkModelShape,
  type MethodFileIdentity,
  readMethodFile,
  tensorFingerprint,
  tensorOf,
  writeMethodFile,
} from "./method-file.ts";
import type { CollectedQueries } from "./query-collector.ts";
import { readTensorFile } from "./tensor-file.ts";

/** One direction per KV head of a model: keys along it are attended to least. */
export interface QFilters extends MethodFileIdentity {
  /** [numLayers, numKvHeads, headDim]. */
  readonly shape: readonly [number, number, number];
  /** f32, of that shape. */
  readonly filters: Float32Array;
}

export const qFiltersOf = (
  shape: readonly [number, number, number],
  filters: Float32Array,
  model = "",
): QFilters => Object.freeze({ shape, filters, model, fingerprint: tensorFingerprint(filters) });

/** Reads a file of method q-filters: `filters` [layers, KV heads, head dim]. Throws `invalid-file`. */
export function readQFilters(bytes: Uint8Array): QFilters {
  const { model, tensors } = readMethodFile(bytes, "q-filters");
  const { shape, data } = tensorOf(tensors, "filters", 3);
  return qFiltersOf(shape as [number, number, number], data, model);
}

/** Reads filters as their authors publish them: a safetensors file of `q_filters`. */
export function convertQFilters(bytes: Uint8Array, model = ""): QFilters {
  const { shape, data } = tensorOf(readTensorFile(bytes).tensors, "q_filters", 3);
  return qFiltersOf(shape as [number, number, number], data, model);
}

export const writeQFilters = (
  { shape, filters, model }: QFilters,
  about: Readonly<Record<string, string>> = {},
): Uint8Array =>
  writeMethodFile({
    method: "q-filters",
    model,
    about,
    tensors: new Map([["filters", { shape, data: filters }]]),
  });

/** Throws `invalid-plan` where the filters belong to another model, by shape or fingerprint. */
export function checkQFilters(filters: QFilters, model: KvShape, fingerprint?: string): void {
  checkModelShape("Q-Filters", filters.shape, [model.numLayers, model.numKvHeads, model.headDim]);
  checkModelFingerprint("Q-Filters", filters, fingerprint);
}

/**
 * Filters from queries after RoPE: the first right singular vector of each query head's queries,
 * turned so that their mean projects onto it positively, averaged over the query heads of a KV head.
 */
export function calibrateQFilters(
  { means, deviations, count }: CollectedQueries,
  shape: KvShape,
  model = "",
): QFilters {
  const { numLayers, numQueryHeads, numKvHeads, headDim } = shape;
  const group = groupSize(shape);
  const filters = new Float32Array(numLayers * numKvHeads * headDim);
  for (let index = 0; index < numLayers * numQueryHeads; index++) {
    const mean = means.subarray(index * headDim, (index + 1) * headDim);
    const size = headDim * headDim;
    const products = Float64Array.from(
      deviations.subarray(index * size, (index + 1) * size),
      (sum, i) => sum + count * mean[Math.floor(i / headDim)]! * mean[i % headDim]!,
    );
    const direction = leadingDirection(products, headDim);
    const sign = direction.reduce((dot, x, c) => dot + x * mean[c]!, 0) < 0 ? -1 : 1;
    const layer = Math.floor(index / numQueryHeads);
    const head = Math.floor((index % numQueryHeads) / group);
    const at = (layer * numKvHeads + head) * headDim;
    for (let c = 0; c < headDim; c++) filters[at + c]! += (sign * direction[c]!) / group;
  }
  return qFiltersOf([numLayers, numKvHeads, headDim], filters, model);
}
