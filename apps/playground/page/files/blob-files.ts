import { KvCacheError } from "@kvcache/core";
import type { ModelFiles } from "@kvcache/decoder";

/**
 * A model's files as blobs: picked by the user, or of this origin's storage. Tensors are read one by
 * one when the backend asks, so weights never stand in memory as a whole. Workers only, which alone
 * may read a blob at once.
 */
export function blobFiles(name: string, blobs: ReadonlyMap<string, Blob>): ModelFiles {
  const blobOf = (file: string): Blob => {
    const blob = blobs.get(file);
    if (!blob)
      throw new KvCacheError("invalid-model", `${file} is missing in ${name}.`, { value: file });
    return blob;
  };
  const readRangeSync = (file: string, start: number, end: number) =>
    new Uint8Array(new FileReaderSync().readAsArrayBuffer(blobOf(file).slice(start, end)));
  return Object.freeze({
    name,
    list: async () => [...blobs.keys()],
    size: async (file: string) => blobs.get(file)?.size,
    read: async (file: string) => new Uint8Array(await blobOf(file).arrayBuffer()),
    readRange: async (file: string, start: number, end: number) =>
      new Uint8Array(await blobOf(file).slice(start, end).arrayBuffer()),
    readRangeSync,
  });
}
