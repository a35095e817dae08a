import { nodeBuiltin } from "../files/node-builtin.ts";
import { type HubId, isCommit } from "./hub-id.ts";

export type Environment = { readonly [name: string]: string | undefined };

/** Our own cache: KVCACHE_HOME/models/org/name/commit, by default below ~/.cache/kvcache. */
export function cacheFolder(id: HubId, env: Environment): string {
  const { join } = nodeBuiltin("path");
  const home = env.KVCACHE_HOME || join(nodeBuiltin("os").homedir(), ".cache", "kvcache");
  return join(home, "models", ...id.repository.split("/"));
}

/**
 * A snapshot that the Hugging Face tools downloaded earlier, where it has configuration and
 * weights: HF_HUB_CACHE, else HF_HOME/hub, else ~/.cache/huggingface/hub. Only read, never changed.
 */
export function huggingFaceSnapshot(id: HubId, env: Environment): string | undefined {
  const fs = nodeBuiltin("fs");
  const { join } = nodeBuiltin("path");
  const home = env.HF_HOME || join(nodeBuiltin("os").homedir(), ".cache", "huggingface");
  const hub = env.HF_HUB_CACHE || join(home, "hub");
  const folder = join(hub, `models--${id.repository.replace("/", "--")}`);
  const commit = isCommit(id.revision) ? id.revision : readText(join(folder, "refs", id.revision));
  if (commit === undefined || !isCommit(commit)) return undefined;
  const snapshot = join(folder, "snapshots", commit);
  const has = (file: string) => fs.existsSync(join(snapshot, file));
  return has("config.json") && (has("model.safetensors") || hasShards(snapshot))
    ? snapshot
    : undefined;
}

/** Every shard of the index is there: an interrupted download does not count as a model. */
function hasShards(snapshot: string): boolean {
  const fs = nodeBuiltin("fs");
  const { join, basename } = nodeBuiltin("path");
  const index = readText(join(snapshot, "model.safetensors.index.json"));
  if (index === undefined) return false;
  try {
    const shards = Object.values<unknown>(JSON.parse(index).weight_map);
    return shards.every((shard) => fs.existsSync(join(snapshot, basename(String(shard)))));
  } catch {
    return true; // Loading it says what is wrong with the index.
  }
}

/** The commit that a branch or tag meant when it was last resolved. */
export function readRef(folder: string, revision: string): string | undefined {
  const commit = readText(nodeBuiltin("path").join(folder, "refs", revision));
  return commit !== undefined && isCommit(commit) ? commit : undefined;
}

export function writeRef(folder: string, revision: string, commit: string): void {
  const { join } = nodeBuiltin("path");
  nodeBuiltin("fs").mkdirSync(join(folder, "refs"), { recursive: true });
  replaceFile(join(folder, "refs", revision), commit);
}

/** Written last into a snapshot folder: all its files are there and were verified. */
export const COMPLETE = ".complete";

export const isComplete = (snapshot: string): boolean =>
  nodeBuiltin("fs").existsSync(nodeBuiltin("path").join(snapshot, COMPLETE));

export function replaceFile(path: string, text: string): void {
  const fs = nodeBuiltin("fs");
  fs.writeFileSync(`${path}.new`, text);
  fs.renameSync(`${path}.new`, path);
}

function readText(path: string): string | undefined {
  try {
    return nodeBuiltin("fs").readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
