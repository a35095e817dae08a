/** Bytes that may stand in one place: 1 where allowed, [256]. */
export type ByteSet = Uint8Array;

/** One place of a sequence: a byte, a rule, or a rule `min` to `max` times. */
export type GrammarSymbol =
  | { readonly bytes: ByteSet }
  | { readonly rule: Rule; readonly min: number; readonly max: number };

/** Symbols one after the other. */
export type Sequence = readonly GrammarSymbol[];

/**
 * Alternatives. A rule may name itself further on (recursion), but not as its first symbol, and
 * what is repeated must not be empty.
 */
export interface Rule {
  alternatives: readonly Sequence[];
}

const encoder = new TextEncoder();
const single = Array.from({ length: 256 }, (_, byte): GrammarSymbol => range(byte, byte));

/** Any byte from `low` to `high`. */
export function range(low: number, high: number): GrammarSymbol {
  return { bytes: new Uint8Array(256).fill(1, low, high + 1) };
}

/** Any of these ASCII characters. */
export function anyOf(characters: string): GrammarSymbol {
  const bytes = new Uint8Array(256);
  for (const byte of encoder.encode(characters)) bytes[byte] = 1;
  return { bytes };
}

/** Exactly this text. */
export const text = (value: string): Sequence =>
  Array.from(encoder.encode(value), (byte) => single[byte]!);

/** A rule, once. */
export const one = (rule: Rule): GrammarSymbol => ({ rule, min: 1, max: 1 });

/** Any one of the alternatives. */
export const choice = (...alternatives: readonly Sequence[]): GrammarSymbol =>
  one({ alternatives });

/** The sequence `min` to `max` times. */
export const repeat = (
  sequence: Sequence,
  min: number,
  max = Number.POSITIVE_INFINITY,
): GrammarSymbol => ({ rule: { alternatives: [sequence] }, min, max });

export const optional = (...sequence: Sequence): GrammarSymbol => repeat(sequence, 0, 1);
