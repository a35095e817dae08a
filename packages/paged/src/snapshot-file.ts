import type { FileHandle } from "node:fs/promises";
import { KvCacheError } from "@kvcache/core";
import {
  createFrame,
  type FrameKind,
  frameBytes,
  frameHeader,
  openFrame,
  payloadStart,
} from "./framed-file.ts";

const kind: FrameKind = { magic: "KVSN", version: 1, what: "snapshot file" };

/** What a snapshot says about itself: anything that JSON can hold. */
export type SnapshotMeta = Readonly<Record<string, unknown>>;

// Loaded on first use, by names that bundlers do not follow: the rest of the package also runs
// where there is no file system.
const modules = { fs: "node:fs/promises", path: "node:path" };
const fileSystem = (): Promise<typeof import("node:fs/promises")> => import(modules.fs);
const paths = (): Promise<typeof import("node:path")> => import(modules.path);

/**
 * Writes bytes and meta to `path`, entirely or not at all: into a file beside it, flushed to disk,
 * then renamed over it. A crash leaves the old file or the new one.
 */
export async function writeSnapshot(
  path: string,
  bytes: Uint8Array,
  meta: SnapshotMeta,
): Promise<void> {
  const { open, rename, rm } = await fileSystem();
  const frame = createFrame(kind, meta, bytes.length);
  frame.payload.set(bytes);
  const temporary = `${path}.${crypto.randomUUID()}.tmp`;
  const file = await open(temporary, "wx");
  try {
    await file.writeFile(frame.seal()).finally(async () => {
      await file.sync().finally(() => file.close());
    });
    await rename(temporary, path);
  } catch (cause) {
    await rm(temporary, { force: true });
    throw cause;
  }
  await syncFolder(path);
}

/** Makes the rename itself durable, where folders can be opened (not on Windows). */
async function syncFolder(path: string): Promise<void> {
  const { open } = await fileSystem();
  const { dirname } = await paths();
  const folder = await open(dirname(path), "r").catch(() => undefined);
  await folder?.sync().finally(() => folder.close());
}

const notFound = (path: string) => (cause: NodeJS.ErrnoException) => {
  if (cause.code !== "ENOENT") throw cause;
  throw new KvCacheError("not-found", `There is no snapshot at ${path}.`, { value: path, cause });
};

/** Reads a snapshot. Throws `not-found`, or `invalid-file` when it is damaged. */
export async function readSnapshot(
  path: string,
): Promise<{ readonly bytes: Uint8Array; readonly meta: SnapshotMeta }> {
  const { readFile } = await fileSystem();
  const file = await readFile(path).catch(notFound(path));
  const { header, payload } = openFrame(kind, file);
  return { bytes: payload, meta: header as SnapshotMeta };
}

/**
 * What a snapshot says about itself, and the size of its file, without reading the rest. The
 * checksum is not checked: `readSnapshot` does that. Throws `not-found`, or `invalid-file` where
 * this is no snapshot.
 */
export async function readSnapshotMeta(
  path: string,
): Promise<{ readonly meta: SnapshotMeta; readonly fileBytes: number }> {
  const { open } = await fileSystem();
  const file = await open(path, "r").catch(notFound(path));
  try {
    const { size } = await file.stat();
    const first = Math.min(size, frameBytes);
    const start = payloadStart(kind, await readStart(file, first));
    const header = frameHeader(kind, await readStart(file, Math.min(size, start)), start);
    return { meta: header as SnapshotMeta, fileBytes: size };
  } finally {
    await file.close();
  }
}

/** The first bytes of a file, fewer where it ends before. */
async function readStart(file: FileHandle, length: number): Promise<Uint8Array> {
  const bytes = new Uint8Array(length);
  let read = 0;
  while (read < length) {
    const { bytesRead } = await file.read(bytes, read, length - read, read);
    if (bytesRead === 0) break;
    read += bytesRead;
  }
  return bytes.subarray(0, read);
}
