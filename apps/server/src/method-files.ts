import { readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import { KvCacheError, parseHeadProfile } from "@kvcache/core";
import { profilesUrl } from "@kvcache/model-tiny";
import {
  readBudgetCurve,
  readKvZap,
  readQFilters,
  readQueryStatistics,
  readRetentionGates,
} from "@kvcache/policies";

/** The bytes of a file that a plan names. Throws `not-found`. */
export type ReadFile = (name: string) => Uint8Array;

/** Files anywhere: for who types the command line. */
export const anyFile: ReadFile = (path) => {
  if (!statSync(path, { throwIfNoEntry: false })?.isFile())
    throw new KvCacheError("not-found", `There is no file ${JSON.stringify(path)}.`, {
      value: path,
      remedy: 'Make it with kvcache profile or kvcache convert, or write "tiny" for kvcache-tiny.',
    });
  return readFileSync(path);
};

/** Files of one folder, by their names; none without a folder: for requests from elsewhere. */
export const filesOf =
  (folder: string | undefined): ReadFile =>
  (name) => {
    if (folder !== undefined && basename(name) === name && !name.startsWith("."))
      return anyFile(join(folder, name));
    throw new KvCacheError("not-found", `The server offers no file ${JSON.stringify(name)}.`, {
      value: name,
      remedy: "Name a file of the folder that kvcache serve --profiles was given, without a path.",
    });
  };

const profile = (bytes: Uint8Array) => parseHeadProfile(new TextDecoder().decode(bytes));

interface MethodFileKind {
  /** The policy's option that takes the content. */
  readonly option: string;
  readonly extension: "json" | "safetensors";
  read(bytes: Uint8Array): unknown;
}

/** What methods read from files. */
const kinds: Readonly<Record<string, MethodFileKind>> = {
  baklava: { option: "profile", extension: "json", read: profile },
  "duo-attention": { option: "profile", extension: "json", read: profile },
  "head-kv": { option: "profile", extension: "json", read: profile },
  "heat-kv": { option: "profile", extension: "json", read: profile },
  "expected-attention": {
    option: "statistics",
    extension: "safetensors",
    read: readQueryStatistics,
  },
  "fast-kv-zip": { option: "gates", extension: "safetensors", read: readRetentionGates },
  "kv-zap": { option: "surrogate", extension: "safetensors", read: readKvZap },
  "lu-kv": { option: "curve", extension: "safetensors", read: readBudgetCurve },
  "q-filters": { option: "filters", extension: "safetensors", read: readQFilters },
};

/** What a method's file holds, where `option` takes one and `value` names it; else the value. */
export function methodFile(
  policy: string,
  option: string,
  value: unknown,
  readFile: ReadFile,
): unknown {
  const kind = Object.hasOwn(kinds, policy) ? kinds[policy]! : undefined;
  if (kind?.option !== option || typeof value !== "string") return value;
  const bytes = shipped(policy, kind, value) ?? readFile(value);
  try {
    return kind.read(bytes);
  } catch (cause) {
    if (!(cause instanceof KvCacheError)) throw cause;
    throw new KvCacheError(cause.code, `${value}, ${policy}'s ${option}: ${cause.message}`, {
      value,
      cause,
    });
  }
}

/** "tiny", or "tiny-<variant>": the file that model-tiny ships. */
function shipped(
  policy: string,
  { extension }: MethodFileKind,
  value: string,
): Uint8Array | undefined {
  const variant = /^tiny((?:-[a-z]+)?)$/.exec(value)?.[1];
  if (variant === undefined) return undefined;
  const url = new URL(`${policy}${variant}.${extension}`, profilesUrl);
  if (statSync(url, { throwIfNoEntry: false })) return readFileSync(fileURLToPath(url));
  throw new KvCacheError("not-found", `No file for ${policy} ships as ${value}.`, {
    value,
    remedy: "Name a file, for example one made with kvcache profile or kvcache convert.",
  });
}
