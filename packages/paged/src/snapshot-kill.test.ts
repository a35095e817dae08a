import { spawn } from "node:child_process";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";
import { afterAll, beforeAll, expect, test } from "vitest";
import { readSnapshot, writeSnapshot } from "./snapshot-file.ts";

const slow = process.env.KVCACHE_SLOW_TESTS === "1";
const numKills = slow ? 1000 : 12;
if (!slow) console.log(`snapshot-kill: ${numKills} kills; KVCACHE_SLOW_TESTS=1 makes 1000`);

const numBytes = 50_000;
const contents = (version: number) => new Uint8Array(numBytes).fill(version % 251);

let folder: string;
let writer: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "kvcache-kill-"));
  writer = join(folder, "writer.mjs");
  // Writes version after version to one path, and says so before each.
  const source = fileURLToPath(new URL("snapshot-file.ts", import.meta.url));
  await build({
    stdin: {
      contents: `
        import { readSnapshot, writeSnapshot } from ${JSON.stringify(source)};
        const path = process.argv[2];
        let { version } = (await readSnapshot(path)).meta;
        for (;;) {
          version++;
          process.stdout.write("w");
          await writeSnapshot(path, new Uint8Array(${numBytes}).fill(version % 251), { version });
        }`,
      resolveDir: folder,
    },
    bundle: true,
    platform: "node",
    format: "esm",
    conditions: ["@kvcache/source"],
    outfile: writer,
  });
});
afterAll(() => rm(folder, { recursive: true }));

/** Starts a writer and kills it at a moment that `delay` (milliseconds after its first write) sets. */
async function killed(path: string, delay: number): Promise<void> {
  const child = spawn(process.execPath, [writer, path], { stdio: ["ignore", "pipe", "inherit"] });
  const ended = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  await new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("error", reject);
    child.once("exit", () => reject(new Error("The writer ended by itself.")));
  });
  await new Promise((resolve) => setTimeout(resolve, delay));
  child.kill("SIGKILL");
  await ended;
}

test(
  "a snapshot survives whoever is killed while writing the next one",
  async () => {
    const path = join(folder, "snapshot");
    await writeSnapshot(path, contents(1), { version: 1 });
    let last = 1;
    let interrupted = 0;
    // A kill between two writes says nothing: there must be one in the middle of a write.
    for (let kill = 0; kill < numKills || (interrupted === 0 && kill < 300); kill++) {
      await killed(path, (kill * 37) % 113);
      const { bytes, meta } = await readSnapshot(path);
      const version = meta.version as number;
      expect(version).toBeGreaterThanOrEqual(last);
      expect(Buffer.compare(bytes, contents(version))).toBe(0);
      last = version;
      for (const name of await readdir(folder))
        if (name.endsWith(".tmp")) {
          interrupted++;
          await rm(join(folder, name));
        }
    }
    // Some were in the middle of a write, and some writes went through: otherwise nothing was tried.
    expect(interrupted).toBeGreaterThan(0);
    expect(last).toBeGreaterThan(1);
  },
  slow ? 1_800_000 : 120_000,
);
