import { KvCacheError } from "@kvcache/core";
import { type ModelFiles, missingFile } from "./model-files.ts";
import { nodeBuiltin } from "./node-builtin.ts";

/** readSync takes at most 2^31 − 1 bytes. */
const MAX_READ = 2 ** 30;

/**
 * A folder on disk (Node only). Symbolic links that the folder's owner made are followed, as in
 * the Hugging Face cache; anything that is not a regular file is refused before it is opened.
 * Throws `not-found` when there is no such folder.
 */
export function folderFiles(folder: string): ModelFiles {
  const fs = nodeBuiltin("fs");
  const { join } = nodeBuiltin("path");

  const stat = statOf(fs, folder, folder);
  if (stat === undefined)
    throw new KvCacheError("not-found", `There is no folder ${folder}.`, {
      value: folder,
      remedy: "Give the path of a model folder or a hub id such as org/name.",
    });
  if (!stat.isDirectory())
    throw new KvCacheError("invalid-model", `${folder} is not a folder.`, {
      value: folder,
      remedy: "Give the folder that holds config.json and model.safetensors.",
    });

  const size = (file: string): number | undefined => {
    const found = statOf(fs, join(folder, file), file);
    if (found === undefined) return undefined;
    if (!found.isFile())
      throw new KvCacheError("invalid-model", `${file} in ${folder} is not a regular file.`, {
        value: file,
      });
    return found.size;
  };

  const readRangeSync = (file: string, start: number, end: number): Uint8Array => {
    const bytes = size(file);
    if (bytes === undefined) throw missingFile(folder, file);
    if (start < 0 || start > end || end > bytes) throw truncated(file, end, bytes);
    const target = new Uint8Array(end - start);
    let handle: number | undefined;
    try {
      handle = fs.openSync(join(folder, file), "r");
      for (let done = 0; done < target.length; ) {
        const length = Math.min(MAX_READ, target.length - done);
        const got = fs.readSync(handle, target, done, length, start + done);
        if (got === 0) throw truncated(file, end, start + done);
        done += got;
      }
      return target;
    } catch (error) {
      throw readError(file, error);
    } finally {
      if (handle !== undefined) fs.closeSync(handle);
    }
  };

  return Object.freeze({
    name: folder,
    list: async () => fs.readdirSync(folder),
    size: async (file) => size(file),
    read: async (file) => readRangeSync(file, 0, size(file) ?? 0),
    readRange: async (file, start, end) => readRangeSync(file, start, end),
    readRangeSync,
  } satisfies ModelFiles);
}

/** Whether there is anything at this path; false in a page. */
export function pathExists(path: string): boolean {
  const fs = globalThis.process?.getBuiltinModule?.("node:fs");
  return fs?.existsSync(path) ?? false;
}

function statOf(fs: typeof import("node:fs"), path: string, label: string) {
  try {
    return fs.statSync(path, { throwIfNoEntry: false });
  } catch (error) {
    throw readError(label, error);
  }
}

const truncated = (file: string, end: number, bytes: number) =>
  new KvCacheError("invalid-model", `${file} ends at byte ${bytes}; byte ${end} was expected.`, {
    value: bytes,
    remedy: "Fetch the file again: it is truncated or changed while it was read.",
  });

const reasons: Record<string, string> = {
  ELOOP: "its symbolic links lead in a circle",
  EACCES: "permission denied",
  EPERM: "permission denied",
  ENOTDIR: "a part of its path is not a folder",
  ENAMETOOLONG: "its name is too long",
};

function readError(file: string, error: unknown): unknown {
  if (error instanceof KvCacheError) return error;
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const reason = reasons[code] ?? (error as Error).message;
  return new KvCacheError("invalid-model", `${file} cannot be read: ${reason}.`, {
    value: file,
    cause: error,
  });
}
