import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { KvCacheError } from "@kvcache/core";
import type { CapturedCache, CapturedState } from "@kvcache/engine";
import { readSnapshot, readSnapshotMeta, type SnapshotMeta, writeSnapshot } from "@kvcache/paged";
import { ApiError } from "../api-error.ts";
import type { KvRequest } from "../kv-plan.ts";

/** What is known of a stored snapshot without its contents. */
export interface SnapshotInfo {
  readonly id: string;
  /** Name of the model that it was made with. */
  readonly model: string;
  /** What the request said about its cache, so that others can be served alike. */
  readonly request: KvRequest;
  readonly policy: string;
  readonly tokens: number;
  /** Tokens kept per row on average. */
  readonly tokensKept: number;
  readonly bytes: number;
  /** Unix seconds. */
  readonly created: number;
  readonly expires: number;
}

export interface SnapshotStoreOptions {
  readonly folder: string;
  /** Of all files together. */
  readonly maxBytes: number;
  /** Seconds that a snapshot lives where its request does not say less. */
  readonly maxAge: number;
  /** Unix seconds. */
  readonly now?: () => number;
  /** Hears of a file of the folder that is no snapshot. */
  readonly onDamaged?: (file: string, error: unknown) => void;
  /** Hears of a file that is too old and could not be removed. */
  readonly onLeft?: (file: string, error: unknown) => void;
}

/** Snapshots in a folder: one checksummed file each, written entirely or not at all. */
export interface SnapshotStore {
  readonly maxBytes: number;
  readonly bytes: number;
  list(): readonly SnapshotInfo[];
  /** Throws 404. */
  info(id: string): SnapshotInfo;
  /** Throws 413 without room below the cap. */
  save(
    captured: CapturedCache,
    about: Pick<SnapshotInfo, "model" | "request" | "policy" | "tokensKept">,
    ageSeconds?: number,
  ): Promise<SnapshotInfo>;
  /** Throws 404, or 409 where the file is damaged. */
  load(id: string): Promise<{ readonly info: SnapshotInfo; readonly captured: CapturedCache }>;
  remove(id: string): Promise<void>;
}

const suffix = ".kvsnapshot";
const isId = (text: string) => /^snap_[0-9a-f]{32}$/.test(text);

const unknown = (id: string) =>
  new ApiError(404, `There is no snapshot ${JSON.stringify(id)}.`, { code: "snapshot_not_found" });

interface Meta extends SnapshotMeta {
  readonly info: Omit<SnapshotInfo, "bytes">;
  readonly state: CapturedState;
}

/** Throws `invalid-file` where a header is not one of ours, whoever's file it is. */
function infoOf(meta: SnapshotMeta, id: string): Meta["info"] {
  const { info } = meta as Partial<Meta>;
  const counts = [info?.tokens, info?.tokensKept, info?.created, info?.expires];
  if (info?.id === id && counts.every(Number.isFinite)) return info;
  throw new KvCacheError("invalid-file", `The header of ${id} says nothing of that snapshot.`, {
    value: id,
    remedy: "Make the snapshot again.",
  });
}

/**
 * Opens a folder, made where it is absent; what is no snapshot and what a crash left are passed
 * over. Of each file only the header is read: its checksum is checked when it is loaded.
 */
export async function openSnapshotStore(options: SnapshotStoreOptions): Promise<SnapshotStore> {
  const { folder, maxBytes, maxAge, now = () => Date.now() / 1000 } = options;
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const known = new Map<string, SnapshotInfo>();
  /** Bytes of files that are being written. */
  let pending = 0;
  const pathOf = (id: string) => join(folder, id + suffix);

  for (const file of await readdir(folder)) {
    const id = file.slice(0, -suffix.length);
    if (file.endsWith(".tmp") && isId(file.split(".")[0]!)) await rm(join(folder, file));
    if (!file.endsWith(suffix) || !isId(id)) continue;
    try {
      const { meta, fileBytes } = await readSnapshotMeta(pathOf(id));
      known.set(id, { ...infoOf(meta, id), bytes: fileBytes });
    } catch (error) {
      options.onDamaged?.(file, error);
    }
  }

  const held = () => [...known.values()].reduce((sum, { bytes }) => sum + bytes, pending);

  async function forget(id: string): Promise<void> {
    known.delete(id);
    await rm(pathOf(id), { force: true });
  }

  /** Removes what is too old; nobody finds it from this moment on. */
  function expire(): void {
    const time = now();
    for (const { id, expires } of known.values())
      if (expires <= time) forget(id).catch((error) => options.onLeft?.(id + suffix, error));
  }

  function info(id: string): SnapshotInfo {
    expire();
    const found = known.get(id);
    if (!found) throw unknown(id);
    return found;
  }

  return Object.freeze<SnapshotStore>({
    maxBytes,
    get bytes() {
      return held();
    },
    list() {
      expire();
      return [...known.values()].sort((a, b) => b.created - a.created);
    },
    info,
    async save({ bytes, state }, about, ageSeconds = maxAge) {
      expire();
      const id = `snap_${randomBytes(16).toString("hex")}`;
      const created = Math.floor(now());
      const expires = created + Math.min(ageSeconds, maxAge);
      const meta: Meta = {
        info: { ...about, id, tokens: state.tokenIds.length, created, expires },
        state,
      };
      const size = bytes.byteLength + JSON.stringify(meta).length + 64;
      if (held() + size > maxBytes)
        throw new ApiError(
          413,
          `A snapshot of ${size} bytes does not fit: ${held()} of ${maxBytes} are taken.`,
          { code: "snapshots_full" },
        );
      pending += size;
      try {
        await writeSnapshot(pathOf(id), bytes, meta);
        const saved = { ...meta.info, bytes: (await stat(pathOf(id))).size };
        known.set(id, saved);
        return saved;
      } finally {
        pending -= size;
      }
    },
    async load(id) {
      const found = info(id);
      try {
        const { bytes, meta } = await readSnapshot(pathOf(id));
        return { info: found, captured: { bytes, state: (meta as Meta).state } };
      } catch (error) {
        if (!(error instanceof KvCacheError)) throw error;
        if (error.code === "not-found") {
          known.delete(id);
          throw unknown(id);
        }
        throw new ApiError(409, `Snapshot ${id} is damaged: ${error.message}`, {
          code: "snapshot_damaged",
          cause: error,
        });
      }
    },
    async remove(id) {
      const found = info(id);
      try {
        await forget(id);
      } catch (error) {
        known.set(id, found);
        throw error;
      }
    },
  });
}
