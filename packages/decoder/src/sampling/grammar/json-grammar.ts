import {
  anyOf,
  choice,
  type GrammarSymbol,
  one,
  optional,
  type Rule,
  range,
  repeat,
  type Sequence,
  text,
} from "./grammar.ts";

// JSON as RFC 8259 has it, with two limits that keep a model from running in circles: white space
// is one blank, or a line break and its indentation; numbers have as many digits as a float64 holds.

const digit = anyOf("0123456789");
const hex = anyOf("0123456789abcdefABCDEF");
const tail = range(0x80, 0xbf);

/** White space between two tokens. */
export const space = choice([], text(" "), [...text("\n"), repeat([anyOf(" \t")], 0, 64)]);

/** One character of a string, escaped or as its UTF-8; half a surrogate pair is none. */
const character: Sequence = [
  choice(
    [anyOf("\x20\x21")],
    [range(0x23, 0x5b)],
    [range(0x5d, 0x7f)],
    [range(0xc2, 0xdf), tail],
    [range(0xe0, 0xe0), range(0xa0, 0xbf), tail],
    [range(0xe1, 0xec), tail, tail],
    [range(0xed, 0xed), range(0x80, 0x9f), tail],
    [range(0xee, 0xef), tail, tail],
    [range(0xf0, 0xf0), range(0x90, 0xbf), tail, tail],
    [range(0xf1, 0xf3), tail, tail, tail],
    [range(0xf4, 0xf4), range(0x80, 0x8f), tail, tail],
    [...text("\\"), anyOf('"\\/bfnrt')],
    [...text("\\u"), anyOf("0123456789abcefABCEF"), hex, hex, hex],
    [...text("\\u"), anyOf("dD"), anyOf("01234567"), hex, hex],
  ),
];

/** A string of `min` to `max` characters. */
export const jsonString = (min = 0, max = Number.POSITIVE_INFINITY): Sequence => [
  ...text('"'),
  repeat(character, min, max),
  ...text('"'),
];

export const jsonInteger: Sequence = [
  optional(...text("-")),
  choice(text("0"), [anyOf("123456789"), repeat([digit], 0, 14)]),
];

export const jsonNumber: Sequence = [
  ...jsonInteger,
  optional(...text("."), repeat([digit], 1, 16)),
  optional(anyOf("eE"), optional(anyOf("+-")), digit, optional(digit)),
];

/** An array of `min` to `max` items. */
export function jsonArray(
  item: GrammarSymbol,
  min = 0,
  max = Number.POSITIVE_INFINITY,
): readonly Sequence[] {
  const empty: Sequence = [...text("["), space, ...text("]")];
  const more = repeat([...text(","), space, item], Math.max(0, min - 1), max - 1);
  const filled: Sequence = [...text("["), space, item, more, space, ...text("]")];
  return [...(min === 0 ? [empty] : []), ...(max > 0 ? [filled] : [])];
}

/** An object of any keys, all with values of one kind. */
export function jsonMap(value: GrammarSymbol): readonly Sequence[] {
  const member = choice([...jsonString(), ...text(":"), space, value]);
  const more = repeat([...text(","), space, member], 0);
  return [
    [...text("{"), space, ...text("}")],
    [...text("{"), space, member, more, space, ...text("}")],
  ];
}

const anyValue: Rule = { alternatives: [] };
const anyObject: Rule = { alternatives: jsonMap(one(anyValue)) };
anyValue.alternatives = [
  [one(anyObject)],
  ...jsonArray(one(anyValue)),
  jsonString(),
  jsonNumber,
  text("true"),
  text("false"),
  text("null"),
];

/** Any JSON value. */
export const jsonValue: GrammarSymbol = one(anyValue);

/** Any JSON object: what OpenAI's `json_object` asks for. */
export const jsonObjectGrammar: Rule = anyObject;
