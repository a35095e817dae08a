import { KvCacheError } from "@kvcache/core";
import { parseJsonObject } from "../files/json-file.ts";
import { nodeBuiltin } from "../files/node-builtin.ts";
import { downloadFile, type RemoteFile, refusal } from "./download-file.ts";
import {
  COMPLETE,
  cacheFolder,
  type Environment,
  huggingFaceSnapshot,
  isComplete,
  readRef,
  replaceFile,
  writeRef,
} from "./hub-cache.ts";
import { type HubId, hubError, isCommit } from "./hub-id.ts";

export interface HubProgress {
  readonly doneBytes: number;
  /** 0 where the hub does not tell sizes. */
  readonly totalBytes: number;
  /** The file that is being fetched. */
  readonly file: string;
}

export interface HubOptions {
  readonly onDownload?: ((progress: HubProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Default process.env: HF_ENDPOINT, HF_TOKEN, HF_HUB_OFFLINE and the cache folders. */
  readonly env?: Environment | undefined;
}

/** A network that swallows packets must not look like a hang. */
const LISTING_TIMEOUT_MS = 8000;

const SMALL_FILES = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "special_tokens_map.json",
  "chat_template.jinja",
  "model.safetensors.index.json",
]);

const isWanted = (file: string, hasSingle: boolean): boolean =>
  SMALL_FILES.has(file) || (hasSingle ? file === "model.safetensors" : isShard(file));
const isShard = (file: string) => /^model-\d{5}-of-\d{5}\.safetensors$/.test(file);

/**
 * The folder of a hub model (Node only): a snapshot of the Hugging Face tools as it is, else our
 * own cache, filled from the hub. A branch is asked for on the hub each time; without a network
 * the commit it last meant is used.
 * Throws `not-found` saying what is missing.
 */
export async function hubModelFolder(id: HubId, options: HubOptions = {}): Promise<string> {
  const { env = globalThis.process?.env ?? {}, signal } = options;
  const folder = cacheFolder(id, env);
  const { join } = nodeBuiltin("path");
  const known = isCommit(id.revision) ? id.revision : readRef(folder, id.revision);
  const cached = known && isComplete(join(folder, known)) ? join(folder, known) : undefined;
  if (cached && isCommit(id.revision)) return cached;
  const foreign = huggingFaceSnapshot(id, env);
  if (foreign !== undefined) return foreign;
  const offline = env.HF_HUB_OFFLINE === "1" || env.HF_HUB_OFFLINE?.toLowerCase() === "true";
  if (offline) {
    if (cached) return cached;
    throw hubError(id, "not in a local cache, and HF_HUB_OFFLINE forbids to download it");
  }
  let listing: Listing;
  try {
    listing = await fetchListing(id, env, signal);
  } catch (error) {
    if (signal?.aborted)
      throw new KvCacheError("aborted", `Loading ${id.repository} was aborted.`, { cause: error });
    const isOurs = error instanceof KvCacheError;
    if (cached && !isOurs) return cached;
    if (isOurs) throw error;
    throw hubError(id, `not in a local cache, and ${reason(error)}`, error);
  }
  const snapshot = join(folder, listing.commit);
  if (!isComplete(snapshot)) await downloadAll(id, listing, snapshot, options);
  writeRef(folder, id.revision, listing.commit);
  return snapshot;
}

interface Listing {
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

async function fetchListing(
  id: HubId,
  env: Environment,
  signal: AbortSignal | undefined,
): Promise<Listing> {
  const endpoint = (env.HF_ENDPOINT || "https://huggingface.co").replace(/\/+$/, "");
  const headers: Record<string, string> = env.HF_TOKEN
    ? { Authorization: `Bearer ${env.HF_TOKEN}` }
    : {};
  const url = `${endpoint}/api/models/${id.repository}/revision/${id.revision}?blobs=true`;
  const patience = AbortSignal.timeout(LISTING_TIMEOUT_MS);
  const either = signal ? AbortSignal.any([signal, patience]) : patience;
  const response = await fetch(url, { headers, signal: either });
  if (!response.ok) throw await refusal({ file: id.repository, url }, response);
  const json = parseJsonObject(new Uint8Array(await response.arrayBuffer()), url);
  const commit = json.sha;
  if (typeof commit !== "string" || !isCommit(commit) || !Array.isArray(json.siblings))
    throw hubError(id, "the hub's answer has no commit or no list of files");
  const siblings = (json.siblings as Sibling[]).filter((s) => typeof s?.rfilename === "string");
  const hasSingle = siblings.some(({ rfilename }) => rfilename === "model.safetensors");
  const files = siblings
    .filter(({ rfilename }) => isWanted(rfilename, hasSingle))
    .map(({ rfilename, size, blobId, lfs }) => ({
      file: rfilename,
      url: `${endpoint}/${id.repository}/resolve/${commit}/${rfilename}`,
      headers,
      size: typeof size === "number" ? size : undefined,
      digest: textOf(lfs ? lfs.sha256 : blobId),
    }));
  const has = (test: (file: string) => boolean) => files.some(({ file }) => test(file));
  if (!has((file) => file === "config.json")) throw hubError(id, "it has no config.json");
  if (!has((file) => file.endsWith(".safetensors")))
    throw hubError(id, "it has no model.safetensors and no shards model-…-of-….safetensors");
  return { commit, files };
}

/** An entry of the hub's list of files, as far as it can be trusted. */
interface Sibling {
  readonly rfilename: string;
  readonly size?: unknown;
  readonly blobId?: unknown;
  readonly lfs?: { readonly sha256?: unknown } | null;
}

const textOf = (value: unknown) => (typeof value === "string" ? value : undefined);

async function downloadAll(
  id: HubId,
  { files }: Listing,
  snapshot: string,
  { onDownload, signal }: HubOptions,
): Promise<void> {
  const fs = nodeBuiltin("fs");
  const { join } = nodeBuiltin("path");
  fs.mkdirSync(snapshot, { recursive: true });
  const totalBytes = files.reduce((sum, { size }) => sum + (size ?? 0), 0);
  let finished = 0;
  for (const remote of files) {
    const path = join(snapshot, remote.file);
    let size = fs.statSync(path, { throwIfNoEntry: false })?.size;
    if (size === undefined) {
      const onBytes = (bytes: number) =>
        onDownload?.({ doneBytes: finished + bytes, totalBytes, file: remote.file });
      try {
        await downloadFile(remote, path, { onBytes, signal });
      } catch (error) {
        if (error instanceof KvCacheError) throw error;
        throw hubError(id, `${remote.file} could not be downloaded: ${reason(error)}`, error);
      }
      size = fs.statSync(path).size;
    }
    finished += size;
  }
  replaceFile(join(snapshot, COMPLETE), "");
}

/** What went wrong in a fetch; the useful part is often in the cause. */
function reason(error: unknown): string {
  const { message, cause } = error as Error;
  return cause instanceof Error && cause.message ? `${message} (${cause.message})` : message;
}
