import { createHash } from "node:crypto";
import { crc32 } from "node:zlib";
import type { CacheManager, PrefixKey } from "@kvcache/core";

/** Raised when values or names change their meaning: older ones are not found any more. */
const VERSION = 1;
/** Values are at most this large, and more than half of it, unless one block group is larger. */
const VALUE_BYTES = 2 ** 21;
/** Small models would share nothing shorter than a book otherwise. */
const MAX_TOKENS = 256;

/** How the prefixes of one cache are cut into values. */
export interface ChunkFormat {
  /** Whole blocks. */
  readonly tokens: number;
  readonly bytes: number;
  /**
   * Names of the chunks that lie within the first `tokens` tokens: each hangs on all tokens before
   * it, on the model, its weights' format, the caller's salt, and the cache's layout.
   */
  names(key: PrefixKey, tokens: number): string[];
  /** Names a whole prompt, compressed by a plan; its cache also holds the last queries. */
  compressedName(key: PrefixKey, planFingerprint: string): string;
  /** Bytes of a part of a compressed prompt, at most. */
  readonly partBytes: number;
}

const sha256 = (...parts: readonly (string | Uint8Array)[]): Buffer => {
  const hash = createHash("sha256");
  for (const part of parts) hash.update(part);
  return hash.digest();
};

const bytesOf = (ids: Int32Array) => new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength);

export function chunkFormat(
  { layout, windowSize }: Pick<CacheManager, "layout" | "windowSize">,
  groupBytes: number,
): ChunkFormat {
  const { blockSize } = layout.arenas[0]!;
  const most = Math.min(VALUE_BYTES / groupBytes, MAX_TOKENS / blockSize);
  const groups = 2 ** Math.max(0, Math.floor(Math.log2(most)));
  const tokens = groups * blockSize;
  const origin = JSON.stringify([VERSION, tokens, layout]);
  return Object.freeze<ChunkFormat>({
    tokens,
    bytes: groups * groupBytes,
    partBytes: VALUE_BYTES,
    names({ namespace, tokenIds }, count) {
      let hash = sha256(JSON.stringify([origin, namespace]));
      return Array.from({ length: Math.floor(count / tokens) }, (_, chunk) => {
        hash = sha256(hash, bytesOf(tokenIds.subarray(chunk * tokens, (chunk + 1) * tokens)));
        return `kvcache:${VERSION}:${hash.toString("hex")}`;
      });
    },
    compressedName({ namespace, tokenIds }, planFingerprint) {
      const about = JSON.stringify([origin, windowSize, namespace, planFingerprint]);
      return `kvcache:${VERSION}:${sha256(about, bytesOf(tokenIds)).toString("hex")}`;
    },
  });
}

/*
 * A value: 4 bytes "KVCB", u32 CRC-32 of all that follows, u32 bytes of the name, name, payload;
 * numbers little-endian.
 */
const headBytes = 12;

export function sealChunk(name: string, payload: Uint8Array): Uint8Array {
  const bytes = Buffer.allocUnsafe(headBytes + name.length + payload.length);
  bytes.write("KVCB", 0, "latin1");
  bytes.writeUInt32LE(name.length, 8);
  bytes.write(name, headBytes, "latin1");
  bytes.set(payload, headBytes + name.length);
  bytes.writeUInt32LE(crc32(bytes.subarray(8)), 4);
  return bytes;
}

/** The payload; undefined where the value is damaged, of another name or of another size than told. */
export function openChunk(name: string, value: Uint8Array, bytes?: number): Uint8Array | undefined {
  const { buffer, byteOffset, byteLength } = value;
  const view = Buffer.from(buffer, byteOffset, byteLength);
  const start = headBytes + name.length;
  const fits =
    (bytes === undefined ? byteLength >= start : byteLength === start + bytes) &&
    view.toString("latin1", 0, 4) === "KVCB" &&
    view.readUInt32LE(8) === name.length &&
    view.toString("latin1", headBytes, start) === name &&
    crc32(view.subarray(8)) === view.readUInt32LE(4);
  return fits ? view.subarray(start) : undefined;
}
