const encoder = new TextEncoder();

/**
 * Byte fallback: what the model cannot spell becomes the tokens `<0x00>` … `<0xFF>` of its UTF-8
 * bytes. Returns a function that gives those ids, or undefined when one of them is missing.
 */
export function byteFallback(
  vocab: ReadonlyMap<string, number>,
): (text: string) => number[] | undefined {
  const ids = Array.from({ length: 256 }, (_, byte) => vocab.get(byteToken(byte)));
  return (text) => {
    const out: number[] = [];
    for (const byte of encoder.encode(text)) {
      const id = ids[byte];
      if (id === undefined) return undefined;
      out.push(id);
    }
    return out;
  };
}

function byteToken(byte: number): string {
  return `<0x${byte.toString(16).toUpperCase().padStart(2, "0")}>`;
}

/** The byte that a token such as `<0x0A>` stands for; undefined for any other token. */
export function byteOfToken(token: string): number | undefined {
  return /^<0x[0-9a-fA-F]{2}>$/.test(token) ? Number.parseInt(token.slice(3, 5), 16) : undefined;
}
