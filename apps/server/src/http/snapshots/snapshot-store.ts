import { randomBytes } from "node:crypto";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { KvCacheError } from "@kvcache/core";
import type { CapturedCache, CapturedState } from "@kvcache/engine";
import { readSnapshot, type SnapshotMeta, writeSnapshot } from "@kvcache/paged";
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

/** Opens a folder, made where it is absent; damaged files and what a crash left are passed over. */
export async function openSnapshotStore(
  { folder, maxBytes, maxAge, now = () => Date.now() / 1000 }: SnapshotStoreOptions,
  onDamaged: (file: string, error: unknown) => void = () => {},
): Promise<SnapshotStore> {
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
      const { meta } = await readSnapshot(pathOf(id));
      const { size } = await stat(pathOf(id));
      known.set(id, { ...(meta as Meta).info, id, bytes: size });
    } catch (error) {
      onDamaged(file, error);
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
    for (const { id, expires } of known.values()) if (expires <= time) void forget(id);
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
      } finally {
        pending -= size;
      }
      const saved = { ...meta.info, bytes: (await stat(pathOf(id))).size };
      known.set(id, saved);
      return saved;
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
      info(id);
      await forget(id);
    },
  });
}
