import { cacheLayout, floatToHalf, halfToFloat } from "@kvcache/core";
import { expect, test } from "vitest";
import { codeOf, smallLayout } from "./__fixtures__/small-cache.ts";
import { readRow, writeEntries } from "./entries.ts";
import { createPagedCache } from "./paged-cache.ts";

test("memory is sized by bytes, shared by default, and refuses nonsense", () => {
  const layout = smallLayout(2);
  const cache = createPagedCache({ layout, memoryBytes: 1000, maxTokensPerSequence: 9 });
  expect(cache.stats()).toMatchObject({ capacityBytes: 15 * 64, residentBytes: 0 });
  expect(cache.host.maxBlocksPerRow).toBe(3);
  expect(cache.host.arenas[0]!.storage.buffer).toBeInstanceOf(SharedArrayBuffer);
  const wrong = [
    { memoryBytes: 100 },
    { memoryBytes: 1000, numBlocks: 4 },
    {},
    { numBlocks: 0 },
    { numBlocks: 4, maxSequences: 0 },
    { numBlocks: 4, windowSize: 0.5 },
  ];
  for (const options of wrong)
    expect(codeOf(() => createPagedCache({ layout, maxTokensPerSequence: 9, ...options }))).toBe(
      "invalid-argument",
    );
});

test("arenas of different codecs hold the same number of tokens", () => {
  const plain = smallLayout(1);
  const [arena] = plain.arenas;
  const half = { dtype: "f16", width: 2, metaBytes: 0 } as const;
  const layout = {
    ...plain,
    shape: { ...plain.shape, numLayers: 3 },
    arenas: [arena!, { blockSize: 4, key: half, value: half }],
    arenaOfLayer: [0, 1, 1],
    layerMap: [0, 1, 2],
    slidingWindow: [undefined, undefined, undefined],
  };
  const cache = createPagedCache({ layout, memoryBytes: 1280, maxTokensPerSequence: 40 });
  expect(cache.stats().arenas.map((a) => a.totalBlocks)).toEqual([10, 20]);
  const sequence = cache.open();
  cache.append(sequence, 40);
  expect(cache.stats().arenas.map((a) => a.freeBlocks)).toEqual([0, 0]);
  expect(cache.sequenceStats(sequence).residentBytes).toBe(1280);
});

test.each(["f32", "f16"] as const)("entries stand where the layout says: %s", (dtype) => {
  const layout = cacheLayout(
    { numLayers: 2, numQueryHeads: 2, numKvHeads: 2, headDim: 3 },
    { blockSize: 4, dtype },
  );
  const cache = createPagedCache({ layout, numBlocks: 12, maxTokensPerSequence: 8 });
  const sequence = cache.open();
  cache.append(sequence, 6);
  const keys = Float32Array.from({ length: 18 }, (_, i) => Math.sin(i));
  const values = Float32Array.from({ length: 18 }, (_, i) => Math.cos(i));
  writeEntries(cache, sequence, 1, 1, keys, values);
  writeEntries(cache, sequence, 1, 1, Float32Array.of(7, 8, 9));
  const read = readRow(cache, sequence, 1, 1);
  const stored = (x: number) => (dtype === "f32" ? Math.fround(x) : halfToFloat(floatToHalf(x)));
  expect([...read.keys]).toEqual([...[...keys].slice(0, 15).map(stored), 7, 8, 9]);
  expect([...read.values]).toEqual([...values].map(stored));

  // Token 4 is the first of the row's second block: keys, then values, row-major.
  const bytes = dtype === "f32" ? 4 : 2;
  const block = cache.host.blockTables[3 * cache.host.maxBlocksPerRow + 1]!;
  const { storage } = cache.host.arenas[0]!;
  const at = block * 24 * bytes;
  const number = (i: number) =>
    dtype === "f32"
      ? new Float32Array(storage.buffer)[at / 4 + i]
      : halfToFloat(new Uint16Array(storage.buffer)[at / 2 + i]!);
  expect([0, 1, 2].map(number)).toEqual([...keys].slice(12, 15).map(stored));
  expect([12, 13, 14].map(number)).toEqual([...values].slice(12, 15).map(stored));
});

test("rows and numbers that do not fit are refused", () => {
  const layout = smallLayout();
  const cache = createPagedCache({ layout, numBlocks: 4, maxTokensPerSequence: 8 });
  const sequence = cache.open();
  cache.append(sequence, 2);
  const numbers = new Float32Array(4);
  for (const misuse of [
    () => readRow(cache, sequence, 0, 1),
    () => readRow(cache, sequence, 1, 0),
    () => writeEntries(cache, sequence, 0, 0, new Float32Array(6)),
    () => writeEntries(cache, sequence, 0, 0, new Float32Array(3)),
    () => writeEntries(cache, sequence, 0, 0, numbers, new Float32Array(2)),
  ])
    expect(codeOf(misuse)).toBe("invalid-argument");
});
