import { KvCacheError } from "@kvcache/core";
import { createFrame, type FrameKind, openFrame } from "./framed-file.ts";

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

/** Reads a snapshot. Throws `not-found`, or `invalid-file` when it is damaged. */
export async function readSnapshot(
  path: string,
): Promise<{ readonly bytes: Uint8Array; readonly meta: SnapshotMeta }> {
  const { readFile } = await fileSystem();
  const file = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw cause;
    throw new KvCacheError("not-found", `There is no snapshot at ${path}.`, { value: path, cause });
  });
  const { header, payload } = openFrame(kind, file);
  return { bytes: payload, meta: header as SnapshotMeta };
}
