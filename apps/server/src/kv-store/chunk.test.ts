import { type CacheLayoutOptions, cacheLayout, type KvShape } from "@kvcache/core";
import fc from "fast-check";
import { expect, it } from "vitest";
import { chunkFormat, openChunk, sealChunk } from "./chunk.ts";

const shape = { numLayers: 2, numQueryHeads: 4, numKvHeads: 2, headDim: 64 };
const cacheOf = (of: KvShape, options: CacheLayoutOptions, windowSize = 8) => ({
  layout: cacheLayout(of, options),
  windowSize,
});
const cache = cacheOf(shape, { blockSize: 16 });
const groupBytes = 2 * 2 * 16 * 64 * 2 * 4;
const ids = (length: number) => Int32Array.from({ length }, (_, i) => i);
const key = (tokenIds: Int32Array, namespace = "m") => ({ namespace, tokenIds });

it("values are large enough to travel well", () => {
  // 64 KiB a group, 2 MiB at most, 256 tokens at most.
  expect(chunkFormat(cache, groupBytes)).toMatchObject({ tokens: 256, bytes: 16 * groupBytes });
  const large = { numLayers: 32, numQueryHeads: 32, numKvHeads: 8, headDim: 128 };
  const bytes = 32 * 8 * 16 * 128 * 2 * 2;
  const half = cacheOf(large, { blockSize: 16, dtype: "f16" });
  expect(chunkFormat(half, bytes)).toMatchObject({ tokens: 16, bytes: 2 ** 21 });
  expect(chunkFormat(half, 2 * bytes).tokens).toBe(16);
});

it("names hang on everything that the contents hang on", () => {
  const { names, tokens } = chunkFormat(cache, groupBytes);
  const base = names(key(ids(600)), 600);
  expect(base).toHaveLength(2);
  expect(names(key(ids(600)), 511)).toEqual(base.slice(0, 1));
  expect(names(key(ids(600), "other"), 600)).not.toContain(base[0]);
  const changed = ids(600);
  changed[3] = 7;
  // A chunk's name hangs on the tokens before it.
  expect(names(key(changed), 600).some((name) => base.includes(name))).toBe(false);
  changed[3] = 3;
  changed[tokens] = 7;
  expect(names(key(changed), 600)[0]).toBe(base[0]);
  expect(names(key(changed), 600)[1]).not.toBe(base[1]);
  for (const options of [{ blockSize: 32 }, { blockSize: 16, dtype: "f16" as const }])
    expect(chunkFormat(cacheOf(shape, options), groupBytes).names(key(ids(600)), 600)[0]).not.toBe(
      base[0],
    );
});

it("a compressed prompt is another one under another plan, or with other queries kept", () => {
  const nameOf = (windowSize: number, plan: string, tokens = 600) =>
    chunkFormat(cacheOf(shape, { blockSize: 16 }, windowSize), groupBytes).compressedName(
      key(ids(tokens)),
      plan,
    );
  const names = [nameOf(8, "a"), nameOf(8, "b"), nameOf(9, "a"), nameOf(8, "a", 599)];
  expect(new Set(names).size).toBe(4);
  expect(nameOf(8, "a")).toBe(names[0]);
});

it("what is damaged in any byte, cut, or of another name is not opened", () => {
  const payload = Uint8Array.from({ length: 200 }, (_, i) => i);
  const sealed = sealChunk("kvcache:1:abc", payload);
  expect([...openChunk("kvcache:1:abc", sealed, 200)!]).toEqual([...payload]);
  expect(openChunk("kvcache:1:abd", sealed, 200)).toBeUndefined();
  expect(openChunk("kvcache:1:abc", sealed, 199)).toBeUndefined();
  expect(openChunk("kvcache:1:abc", new Uint8Array(0), 200)).toBeUndefined();
  fc.assert(
    fc.property(fc.nat(sealed.length - 1), fc.integer({ min: 1, max: 255 }), (at, flip) => {
      const bytes = sealed.slice();
      bytes[at] = bytes[at]! ^ flip;
      expect(openChunk("kvcache:1:abc", bytes, 200)).toBeUndefined();
      expect(openChunk("kvcache:1:abc", sealed.slice(0, at), 200)).toBeUndefined();
    }),
  );
});
