import { KvCacheError, type SwappedBytes, type SwapSpace } from "@kvcache/core";

export interface FileSwapOptions {
  /** Made where it is absent; files of an earlier process are removed from it. */
  readonly folder: string;
  /** Of all files together. */
  readonly maxBytes: number;
}

// Loaded by names that bundlers do not follow, as in snapshot-file.
const modules = { fs: "node:fs", path: "node:path" };

/**
 * Keeps swapped sequences in files, one each, readable by their owner only. They do not outlive the
 * process: nothing is flushed. One process per folder.
 */
export async function createFileSwap({ folder, maxBytes }: FileSwapOptions): Promise<SwapSpace> {
  const fs: typeof import("node:fs") = await import(modules.fs);
  const { join }: typeof import("node:path") = await import(modules.path);
  fs.mkdirSync(folder, { recursive: true, mode: 0o700 });
  for (const file of fs.readdirSync(folder))
    if (/^sequence-\d+\.swap$/.test(file)) fs.rmSync(join(folder, file));
  let bytes = 0;
  let stored = 0;
  return Object.freeze<SwapSpace>({
    maxBytes,
    get bytes() {
      return bytes;
    },
    store(content): SwappedBytes | undefined {
      const { byteLength } = content;
      if (bytes + byteLength > maxBytes) return undefined;
      const path = join(folder, `sequence-${stored++}.swap`);
      try {
        fs.writeFileSync(path, content, { mode: 0o600, flag: "wx" });
      } catch {
        // A full or broken disk has no room: the sequence keeps its blocks.
        fs.rmSync(path, { force: true });
        return undefined;
      }
      bytes += byteLength;
      let held = true;
      return {
        read() {
          if (held) return fs.readFileSync(path);
          throw new KvCacheError("internal", `${path} was released.`, { value: path });
        },
        release() {
          if (!held) return;
          held = false;
          bytes -= byteLength;
          fs.rmSync(path, { force: true });
        },
      };
    },
  });
}
