import { invalidTokenizer } from "./tokenizer-json.ts";

/**
 * SentencePiece's compiled normalisation table: base64 of the byte size of a double-array trie
 * (u32), the trie (u32 units), and zero-terminated UTF-8 replacements that its leaves point into.
 * Graphemes shorter than 6 bytes are looked up whole, then characters one by one; of several
 * prefixes in the trie the shortest wins, as in the original.
 */
export function compileCharsmap(base64: string, where: string): (text: string) => string {
  const bytes = decodeBase64(base64, where);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const trieBytes = bytes.length >= 4 ? view.getUint32(0, true) : -1;
  if (trieBytes < 4 || trieBytes % 4 !== 0 || 4 + trieBytes > bytes.length) {
    throw invalidTokenizer(where, "is not a compiled charsmap", trieBytes);
  }
  const trie = Uint32Array.from({ length: trieBytes / 4 }, (_, i) =>
    view.getUint32(4 + 4 * i, true),
  );
  const replacements = bytes.subarray(4 + trieBytes);
  const decoder = new TextDecoder();
  const encoder = new TextEncoder();
  const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });

  function lookUp(key: Uint8Array): string | undefined {
    let node = offset(trie[0]!);
    for (const byte of key) {
      if (byte === 0) return undefined;
      node ^= byte;
      const unit = trie[node];
      if (unit === undefined || (unit & 0x800000ff) !== byte) return undefined;
      node ^= offset(unit);
      if ((unit >>> 8) & 1) {
        const start = (trie[node] ?? 0) & 0x7fffffff;
        const end = replacements.indexOf(0, start);
        return decoder.decode(replacements.subarray(start, end < 0 ? undefined : end));
      }
    }
    return undefined;
  }

  return (text) => {
    let out = "";
    for (const { segment } of graphemes.segment(text)) {
      const key = encoder.encode(segment);
      const whole = key.length < 6 ? lookUp(key) : undefined;
      if (whole !== undefined) out += whole;
      else for (const char of segment) out += lookUp(encoder.encode(char)) ?? char;
    }
    return out;
  };
}

function offset(unit: number): number {
  return (unit >>> 10) << ((unit & 0x200) >>> 6);
}

function decodeBase64(base64: string, where: string): Uint8Array {
  try {
    return Uint8Array.from(atob(base64), (char) => char.charCodeAt(0));
  } catch {
    throw invalidTokenizer(where, "is not base64", base64.slice(0, 40));
  }
}
