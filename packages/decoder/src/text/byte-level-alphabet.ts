/**
 * The byte-level alphabet: each byte as one printable character. Printable Latin-1 bytes stand for
 * themselves, the other 68 for U+0100 and up, in order. From GPT-2.
 */
const BYTE_TO_CHAR: readonly string[] = alphabet();

/** The inverse, by code unit; undefined for characters outside the alphabet. */
export const CHAR_TO_BYTE: ReadonlyMap<number, number> = new Map(
  BYTE_TO_CHAR.map((char, byte) => [char.charCodeAt(0), byte]),
);

const encoder = new TextEncoder();

/** The UTF-8 bytes of `text`, each as its character. */
export function toByteChars(text: string): string {
  let out = "";
  for (const byte of encoder.encode(text)) out += BYTE_TO_CHAR[byte];
  return out;
}

function alphabet(): string[] {
  let next = 0x100;
  return Array.from({ length: 256 }, (_, byte) => {
    const printable =
      (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    return String.fromCharCode(printable ? byte : next++);
  });
}
