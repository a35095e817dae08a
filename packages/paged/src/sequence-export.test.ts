import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { crc32 as zlibCrc32 } from "node:zlib";
import { cacheLayout } from "@kvcache/core";
import { expect, test } from "vitest";
import { codeOf, compactTo } from "./__fixtures__/small-cache.ts";
import { crc32 } from "./crc32.ts";
import { readRow, writeEntries } from "./entries.ts";
import { createPagedCache, type PagedCacheOptions } from "./paged-cache.ts";
import { readSnapshot, readSnapshotMeta, writeSnapshot } from "./snapshot-file.ts";

const shape = { numLayers: 2, numQueryHeads: 2, numKvHeads: 1, headDim: 3 };
const cacheOf = (options: Partial<PagedCacheOptions> = {}, dtype: "f32" | "f16" = "f16") =>
  createPagedCache({
    layout: cacheLayout(shape, { blockSize: 4, dtype }),
    numBlocks: 12,
    maxTokensPerSequence: 16,
    windowSize: 3,
    ...options,
  });

async function filled() {
  const cache = cacheOf();
  const sequence = cache.open();
  cache.append(sequence, 11);
  const numbers = Float32Array.from({ length: 33 }, (_, i) => i / 4);
  for (const layer of [0, 1])
    writeEntries(
      cache,
      sequence,
      layer,
      0,
      numbers,
      numbers.map((x) => -x - layer),
    );
  cache.host.arenas[0]!.sumAttention.forEach((_, i, sums) => {
    sums[i] = i / 8;
  });
  cache.host.windowQueries.forEach((_, i, ring) => {
    ring[i] = Math.sqrt(i);
  });
  await compactTo(cache, sequence, [
    [0, 3, 4, 9, 10],
    [2, 10],
  ]);
  return { cache, sequence, bytes: cache.exportSequence(sequence) };
}

test("the checksum is zlib's", () => {
  for (const n of [0, 1, 3, 4, 5, 1000]) {
    const bytes = Uint8Array.from({ length: n }, (_, i) => (i * 7919) >> 3);
    expect(crc32(bytes), `${n} bytes`).toBe(zlibCrc32(bytes));
  }
});

test("an exported sequence comes back with entries, sums and window queries", async () => {
  const { cache, sequence, bytes } = await filled();
  const other = cacheOf({ maxSequences: 3, shared: false });
  other.append(other.open(), 5);
  const copy = other.importSequence(bytes);
  for (const layer of [0, 1])
    expect(readRow(other, copy, layer, 0)).toEqual(readRow(cache, sequence, layer, 0));
  expect(other.sequenceStats(copy).nextPosition).toBe(11);
  expect(other.windowLength(copy)).toBe(3);
  const ring = (c: typeof cache, s: number) => {
    const width = c.host.windowQueries.length / c.maxSequences;
    return [...c.host.windowQueries.subarray(s * width, (s + 1) * width)];
  };
  expect(ring(other, copy)).toEqual(ring(cache, sequence));
  expect(other.exportSequence(copy)).toEqual(bytes);
  // Still compressed: its blocks are not those of the plain prompt.
  const key = { namespace: "", tokenIds: new Int32Array(11) };
  expect(codeOf(() => other.prefixes.publish(copy, key, 4))).toBe("invalid-argument");
});

test("any corrupt byte is noticed, and nothing is taken", async () => {
  const { bytes } = await filled();
  const cache = cacheOf();
  for (let i = 0; i < bytes.length; i++) {
    const corrupt = bytes.slice();
    corrupt[i]! ^= 1 << (i % 8);
    if (codeOf(() => cache.importSequence(corrupt)) !== "invalid-file")
      expect.fail(`byte ${i} can be corrupted unnoticed`);
  }
  for (const length of [0, 3, 15, 16, 40, bytes.length - 1])
    expect(codeOf(() => cache.importSequence(bytes.subarray(0, length)))).toBe("invalid-file");
  expect(cache.stats()).toMatchObject({ residentBytes: 0, sequences: 0 });
});

test("other layouts, rows that are too long and full pools are refused", async () => {
  const { bytes } = await filled();
  const refused = (options: Partial<PagedCacheOptions>, dtype?: "f32") =>
    codeOf(() => cacheOf(options, dtype).importSequence(bytes));
  expect(refused({}, "f32")).toBe("invalid-file");
  expect(refused({ windowSize: 4 })).toBe("invalid-file");
  expect(refused({ layout: cacheLayout(shape, { blockSize: 2, dtype: "f16" }) })).toBe(
    "invalid-file",
  );
  expect(refused({ maxTokensPerSequence: 4 })).toBe("context-length-exceeded");
  expect(refused({ numBlocks: 2 })).toBe("out-of-blocks");
});

test("snapshot files are written whole and refuse damage", async () => {
  const folder = await mkdtemp(join(tmpdir(), "kvcache-snapshot-"));
  try {
    const path = join(folder, "sequence.kv");
    const { bytes } = await filled();
    await writeSnapshot(path, new Uint8Array(9), { model: "old" });
    await writeSnapshot(path, bytes, { model: "tiny", tokens: [1, 2] });
    expect(await readdir(folder)).toEqual(["sequence.kv"]);
    const read = await readSnapshot(path);
    expect(read.meta).toEqual({ model: "tiny", tokens: [1, 2] });
    expect([...read.bytes]).toEqual([...bytes]);
    cacheOf().importSequence(read.bytes);

    // The header is all that is read for it: nobody misses the rest of the file.
    const whole = await readFile(path);
    const headerOf = async (size: number) => {
      await writeFile(path, whole.subarray(0, size));
      return readSnapshotMeta(path);
    };
    expect(await headerOf(whole.length)).toEqual({ meta: read.meta, fileBytes: whole.length });
    const header = whole.length - bytes.length;
    expect(await headerOf(header)).toEqual({ meta: read.meta, fileBytes: header });
    for (const size of [0, 15, header - 1])
      await expect(headerOf(size)).rejects.toMatchObject({ code: "invalid-file" });
    const none = readSnapshotMeta(join(folder, "none"));
    await expect(none).rejects.toMatchObject({ code: "not-found" });

    await writeFile(path, bytes);
    await expect(readSnapshot(path)).rejects.toMatchObject({ code: "invalid-file" });
    await expect(readSnapshot(join(folder, "none"))).rejects.toMatchObject({ code: "not-found" });
    await expect(writeSnapshot(folder, bytes, {})).rejects.toThrow();
    expect(await readdir(folder)).toEqual(["sequence.kv"]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
