import { KvCacheError } from "@kvcache/core";

/**
 * The files of one model, by plain name (no folders). Node reads a folder with `folderFiles`; a
 * page brings its own implementation over URLs, OPFS or the File System Access API.
 */
export interface ModelFiles {
  /** Folder, URL or repository: for messages. */
  readonly name: string;
  list(): Promise<readonly string[]>;
  /** Bytes of the file; undefined when there is none. */
  size(file: string): Promise<number | undefined>;
  read(file: string): Promise<Uint8Array>;
  /** Bytes start … end − 1. */
  readRange(file: string, start: number, end: number): Promise<Uint8Array>;
  /** Where it exists, tensors are read one by one when a backend asks, not whole files ahead. */
  readonly readRangeSync?: (file: string, start: number, end: number) => Uint8Array;
}

/** Files that are already in memory, such as a page's downloads. Nothing is copied. */
export function memoryFiles(
  entries: Iterable<readonly [file: string, bytes: Uint8Array]>,
  name = "memory",
): ModelFiles {
  const files = new Map(entries);
  const bytesOf = (file: string): Uint8Array => {
    const bytes = files.get(file);
    if (bytes === undefined) throw missingFile(name, file);
    return bytes;
  };
  const readRangeSync = (file: string, start: number, end: number) =>
    bytesOf(file).subarray(start, end);
  return Object.freeze({
    name,
    list: async () => [...files.keys()],
    size: async (file) => files.get(file)?.length,
    read: async (file) => bytesOf(file),
    readRange: async (file, start, end) => readRangeSync(file, start, end),
    readRangeSync,
  } satisfies ModelFiles);
}

export const missingFile = (model: string, file: string): KvCacheError =>
  new KvCacheError("invalid-model", `${file} is missing in ${model}.`, {
    value: file,
    remedy: "A model folder needs config.json and model.safetensors (or shards with their index).",
  });

/** The file where there is one. A larger one than `maxBytes` is refused before it is read. */
export async function readIfPresent(
  files: ModelFiles,
  file: string,
  maxBytes: number,
): Promise<Uint8Array | undefined> {
  const size = await files.size(file);
  if (size === undefined) return undefined;
  if (size > maxBytes)
    throw new KvCacheError(
      "invalid-model",
      `${file} has ${size} bytes; at most ${maxBytes} are read.`,
      { value: size },
    );
  return files.read(file);
}
