import { KvCacheError } from "@kvcache/core";
import { nodeBuiltin } from "../files/node-builtin.ts";

export interface RemoteFile {
  readonly file: string;
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  /** Bytes, where the hub told. */
  readonly size: number | undefined;
  /** SHA-256 of a large file, or the Git blob id (SHA-1) of a small one, where the hub told. */
  readonly digest: string | undefined;
}

export interface DownloadOptions {
  /** Bytes of this file that are on disk so far. */
  readonly onBytes?: (bytes: number) => void;
  readonly signal?: AbortSignal | undefined;
}

const ATTEMPTS = 5;
const [SHA256_DIGITS, SHA1_DIGITS] = [64, 40];

/**
 * Fetches one file to `path`: streamed into `path.partial`, continued by Range after an
 * interruption (of this process too), verified by size and digest, then renamed in one step, so
 * that `path` is never half a file. Throws `not-found` when it cannot be had.
 */
export async function downloadFile(
  remote: RemoteFile,
  path: string,
  options: DownloadOptions = {},
): Promise<void> {
  const fs = nodeBuiltin("fs");
  const partial = `${path}.partial`;
  for (let attempt = 1; ; attempt++) {
    try {
      await appendRest(remote, partial, options);
      verify(remote, partial);
      fs.renameSync(partial, path);
      return;
    } catch (error) {
      if (options.signal?.aborted)
        throw new KvCacheError("aborted", `The download of ${remote.file} was aborted.`, {
          cause: error,
        });
      // A refusal of the server or a wrong digest does not get better by asking again.
      if (error instanceof KvCacheError || attempt === ATTEMPTS) throw error;
      await new Promise((resolve) => setTimeout(resolve, 100 * 2 ** attempt));
    }
  }
}

async function appendRest(
  remote: RemoteFile,
  partial: string,
  { onBytes, signal }: DownloadOptions,
): Promise<void> {
  const fs = nodeBuiltin("fs");
  let have = fs.statSync(partial, { throwIfNoEntry: false })?.size ?? 0;
  if (remote.size !== undefined && have >= remote.size && remote.size > 0) {
    if (have === remote.size) return onBytes?.(have);
    have = 0;
  }
  const headers = have > 0 ? { ...remote.headers, Range: `bytes=${have}-` } : remote.headers;
  const response = await fetch(remote.url, { headers, signal: signal ?? null });
  const resumed = response.status === 206 && rangeStart(response) === have;
  if (response.status === 416 || (response.status === 206 && !resumed)) {
    await response.body?.cancel();
    fs.rmSync(partial, { force: true });
    throw new Error(`the server does not continue ${remote.file} at byte ${have}`);
  }
  if (!response.ok) throw await refusal(remote, response);
  if (!resumed) have = 0;
  const handle = fs.openSync(partial, resumed ? "a" : "w");
  try {
    for await (const chunk of response.body ?? []) {
      fs.writeFileSync(handle, chunk);
      have += chunk.length;
      onBytes?.(have);
    }
  } finally {
    fs.closeSync(handle);
  }
}

function rangeStart(response: Response): number | undefined {
  const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
  return start === undefined ? undefined : Number(start);
}

/** 5xx and 429 may pass: a plain error, so that the caller tries again. */
export async function refusal(remote: { file: string; url: string }, response: Response) {
  await response.body?.cancel();
  const what = `${remote.url} answered ${response.status} ${response.statusText}`;
  if (response.status >= 500 || response.status === 429) return new Error(what);
  const gated = response.status === 401 || response.status === 403;
  return new KvCacheError("not-found", `${remote.file}: ${what}.`, {
    value: remote.url,
    remedy: gated
      ? "Check the name; for a gated or private model accept its terms and set HF_TOKEN."
      : "Check the name of the model, or give the path of a model folder.",
  });
}

function verify({ file, size, digest }: RemoteFile, partial: string): void {
  const fs = nodeBuiltin("fs");
  const found = fs.statSync(partial).size;
  if (size !== undefined && found < size) throw new Error(`${file} ended after ${found} bytes`);
  const actual = digest === undefined ? undefined : hashOf(partial, found, digest.length);
  if ((size !== undefined && found > size) || (actual !== undefined && actual !== digest)) {
    fs.rmSync(partial);
    throw new KvCacheError(
      "invalid-file",
      `${file} was downloaded with another content than the hub announced.`,
      { value: actual ?? found, remedy: "Load the model again to repeat the download." },
    );
  }
}

/** Undefined for a kind of digest that is not known. */
function hashOf(path: string, size: number, digits: number): string | undefined {
  if (digits !== SHA256_DIGITS && digits !== SHA1_DIGITS) return undefined;
  const fs = nodeBuiltin("fs");
  const hash = nodeBuiltin("crypto").createHash(digits === SHA256_DIGITS ? "sha256" : "sha1");
  if (digits === SHA1_DIGITS) hash.update(`blob ${size}\0`);
  const buffer = new Uint8Array(1 << 20);
  const handle = fs.openSync(path, "r");
  try {
    for (let got = -1; got !== 0; ) {
      got = fs.readSync(handle, buffer, 0, buffer.length, null);
      hash.update(buffer.subarray(0, got));
    }
  } finally {
    fs.closeSync(handle);
  }
  return hash.digest("hex");
}
