import { byteOfToken } from "./byte-fallback.ts";
import { bytesOfByteLevel } from "./byte-stages.ts";
import type { TokenDecoder } from "./token-decoder.ts";

const encoder = new TextEncoder();

/**
 * What a token adds to the bytes of a text that it does not begin: those it spells where the
 * decoder works on bytes, else what decoding it behind another token adds.
 */
export function tokenBytesReader(
  decoder: unknown,
  startDecoding: TokenDecoder,
): (token: string) => Uint8Array | undefined {
  const parts = partsOf(decoder);
  if (parts.includes("ByteLevel")) return bytesOfByteLevel;
  const decode = (tokens: readonly string[]) => {
    const stage = startDecoding(false);
    return [...tokens.flatMap((token) => stage.push(token)), ...stage.flush()].join("");
  };
  const before = decode(["a"]);
  return (token) => {
    const byte = parts.includes("ByteFallback") ? byteOfToken(token) : undefined;
    if (byte !== undefined) return Uint8Array.of(byte);
    const text = decode(["a", token]);
    return text.startsWith(before) ? encoder.encode(text.slice(before.length)) : undefined;
  };
}

/** Types of the parts of a decoder. */
function partsOf(decoder: unknown): readonly string[] {
  const { type, decoders } = (decoder ?? {}) as { type?: string; decoders?: readonly unknown[] };
  return [...(type ? [type] : []), ...(decoders ?? []).flatMap(partsOf)];
}
