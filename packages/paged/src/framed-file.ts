import { KvCacheError } from "@kvcache/core";
import { crc32 } from "./crc32.ts";

/*
 * The frame of every file of this package, little-endian: 4 bytes magic, u32 version, u32 CRC-32 of
 * all that follows, u32 bytes of the header, header (JSON, UTF-8), payload.
 */
export const frameBytes = 16;

export interface FrameKind {
  /** Four ASCII characters. */
  readonly magic: string;
  readonly version: number;
  /** What the bytes are, for errors. */
  readonly what: string;
}

const textOf = (bytes: Uint8Array) => String.fromCharCode(...bytes);

/** Builds a frame of which the caller fills the payload before `seal` adds the checksum. */
export function createFrame(
  { magic, version }: FrameKind,
  header: unknown,
  payloadBytes: number,
): { readonly payload: Uint8Array; seal(): Uint8Array } {
  const head = new TextEncoder().encode(JSON.stringify(header));
  const bytes = new Uint8Array(frameBytes + head.length + payloadBytes);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < 4; i++) bytes[i] = magic.charCodeAt(i);
  view.setUint32(4, version, true);
  view.setUint32(12, head.length, true);
  bytes.set(head, frameBytes);
  return {
    payload: bytes.subarray(frameBytes + head.length),
    seal() {
      view.setUint32(8, crc32(bytes.subarray(12)), true);
      return bytes;
    },
  };
}

/** Error for bytes that are not what they should be. */
export const malformed = ({ what }: FrameKind, message: string, value?: unknown): KvCacheError =>
  new KvCacheError("invalid-file", `This is no usable ${what}: ${message}.`, {
    value,
    remedy: "Make the file again.",
  });

/** Where a frame's payload begins. Throws `invalid-file` unless magic and version are right. */
export function payloadStart(kind: FrameKind, bytes: Uint8Array): number {
  if (bytes.length < frameBytes || textOf(bytes.subarray(0, 4)) !== kind.magic)
    throw malformed(kind, `it does not begin with ${kind.magic}`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = view.getUint32(4, true);
  if (version !== kind.version)
    throw malformed(kind, `its version is ${version}, this library reads ${kind.version}`, version);
  return frameBytes + view.getUint32(12, true);
}

/** Opens a frame. Throws `invalid-file` unless magic, version and checksum are right. */
export function openFrame(
  kind: FrameKind,
  bytes: Uint8Array,
): { readonly header: unknown; readonly payload: Uint8Array } {
  const start = payloadStart(kind, bytes);
  const checksum = new DataView(bytes.buffer, bytes.byteOffset).getUint32(8, true);
  if (crc32(bytes.subarray(12)) !== checksum)
    throw malformed(kind, "its checksum does not match its bytes");
  return { header: frameHeader(kind, bytes, start), payload: bytes.subarray(start) };
}

/** The header of a frame of which at least the bytes up to `start` are there; nothing is checked. */
export function frameHeader(kind: FrameKind, bytes: Uint8Array, start: number): unknown {
  if (start > bytes.length) throw malformed(kind, "its header is longer than the file");
  const text = new TextDecoder().decode(bytes.slice(frameBytes, start));
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw malformed(kind, `its header is no JSON (${String(cause)})`);
  }
}
