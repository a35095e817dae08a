import { KvCacheError } from "@kvcache/core";

interface Builtins {
  fs: typeof import("node:fs");
  os: typeof import("node:os");
  path: typeof import("node:path");
  crypto: typeof import("node:crypto");
}

/**
 * A module of Node, asked for when it is used and invisible to bundlers, so that this package also
 * loads in a page. Throws `unsupported` outside Node.
 */
export function nodeBuiltin<K extends keyof Builtins>(module: K): Builtins[K] {
  const builtin = globalThis.process?.getBuiltinModule?.(`node:${module}`);
  if (builtin === undefined)
    throw new KvCacheError("unsupported", "Folders and the model cache need Node 20.16 or later.", {
      value: module,
      remedy: "In a page, pass a ModelFiles object, for example memoryFiles(...).",
    });
  return builtin as Builtins[K];
}
