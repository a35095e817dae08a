import { KvCacheError } from "@kvcache/core";
import {
  convertRetentionGates,
  convertRetentionGatesFile,
  type FileTensor,
  type RetentionGates,
  readTensorFile,
} from "@kvcache/policies";
import type { PublishedFile } from "./conversions.ts";

/** Zip archives, as PyTorch saves, begin so. */
const isZip = ({ bytes }: PublishedFile) => bytes[0] === 0x50 && bytes[1] === 0x4b;

/**
 * Gates from the PyTorch file that the authors publish, or from safetensors: one file whose tensors
 * begin with their layer's number (`3.q_proj.weight`, `layers.3.k_base`), or a file a layer. Throws
 * `invalid-file`.
 */
export function retentionGatesFrom(
  files: readonly PublishedFile[],
  model: string | undefined,
): RetentionGates {
  if (files.length === 1 && isZip(files[0]!))
    return convertRetentionGatesFile(files[0]!.bytes, model);
  const tensors = files.map(({ bytes }) => readTensorFile(bytes).tensors);
  return convertRetentionGates(tensors.length > 1 ? tensors : layersOf(tensors[0]!), model);
}

function layersOf(tensors: ReadonlyMap<string, FileTensor>): ReadonlyMap<string, FileTensor>[] {
  const layers: Map<string, FileTensor>[] = [];
  for (const [name, tensor] of tensors) {
    const [, layer, own] = /^(?:.*?\.)?(\d+)\.(.+)$/.exec(name) ?? [];
    if (own === undefined)
      throw new KvCacheError("invalid-file", `Tensor ${name} names no layer.`, { value: name });
    const index = Number(layer);
    layers[index] ??= new Map();
    layers[index].set(own, tensor);
  }
  const missing = [...layers.keys()].find((layer) => !layers[layer]);
  if (missing !== undefined)
    throw new KvCacheError("invalid-file", `There is no gate of layer ${missing}.`, {
      value: [...tensors.keys()],
    });
  return layers;
}
