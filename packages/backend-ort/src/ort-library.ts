import { existsSync, readdirSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { arch, env, platform } from "node:process";
import { KvCacheError } from "@kvcache/core";

const libraryName = /^(lib)?onnxruntime(\.so(\.\d+)*|(\.\d+)*\.dylib|\.dll)$/;

/**
 * Path of the onnxruntime library: `libraryPath`, KVCACHE_ORT_LIBRARY, or the one inside the
 * package onnxruntime-node. Throws `not-found`.
 */
export function findOrtLibrary(libraryPath = env.KVCACHE_ORT_LIBRARY): string {
  if (libraryPath !== undefined) {
    if (existsSync(libraryPath)) return libraryPath;
    throw notFound(`There is no onnxruntime library at ${libraryPath}.`);
  }
  let root: string;
  try {
    root = dirname(createRequire(import.meta.url).resolve("onnxruntime-node/package.json"));
  } catch (cause) {
    throw notFound("The package onnxruntime-node is not installed.", cause);
  }
  // bin/napi-v<n>/<platform>/<arch> is private to the package: take whichever n there is.
  const bin = join(root, "bin");
  const versions = existsSync(bin) ? readdirSync(bin).sort().reverse() : [];
  for (const version of versions) {
    const folder = join(bin, version, platform, arch);
    const file = existsSync(folder) && readdirSync(folder).find((name) => libraryName.test(name));
    if (file) return join(folder, file);
  }
  throw notFound(`onnxruntime-node has no library for ${platform}-${arch}.`);
}

const notFound = (message: string, cause?: unknown) =>
  new KvCacheError("not-found", message, {
    remedy: "Install onnxruntime-node, or set KVCACHE_ORT_LIBRARY to the library's path.",
    cause,
  });
