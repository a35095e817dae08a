import { toByteChars } from "./byte-level-alphabet.ts";
import { compilePattern, WHITE_SPACE, WORD } from "./oniguruma-pattern.ts";
import { applyBehavior, behaviorAt, findSpans, type SplitBehavior } from "./split-text.ts";
import {
  arrayAt,
  booleanAt,
  integerAt,
  invalidTokenizer,
  type JsonObject,
  partAt,
  stringAt,
  unsupportedPart,
} from "./tokenizer-json.ts";

/** A piece of the text; the model tokenizes each by itself. */
export interface Piece {
  readonly text: string;
  /** Whether the piece starts where the whole text starts. */
  readonly first: boolean;
}

export type PreTokenizer = (piece: Piece) => Piece[];

/** The regex that GPT-2 split with, which ByteLevel uses unless told not to. */
const GPT2 = new RegExp(
  "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\p{White_Space}\\p{L}\\p{N}]+" +
    "|\\p{White_Space}+(?!\\P{White_Space})|\\p{White_Space}+",
  "gu",
);
const SPACE = new RegExp(WHITE_SPACE, "gu");
const WORD_OR_SYMBOLS = new RegExp(`[${WORD}]+|[^${WORD}${WHITE_SPACE}]+`, "gu");
const PUNCTUATION = /[\p{P}!-/:-@[-`{-~]/gu;
const NUMBER = /\p{N}/gu;

/** The pre-tokenizer that `config` describes; null keeps the text in one piece. */
export function createPreTokenizer(value: unknown, where = "pre_tokenizer"): PreTokenizer {
  if (value === null || value === undefined) return (piece) => [piece];
  const { type, config } = partAt(value, where);
  switch (type) {
    case "Sequence": {
      const parts = arrayAt(config.pretokenizers, `${where}.pretokenizers`).map((part, i) =>
        createPreTokenizer(part, `${where}.pretokenizers[${i}]`),
      );
      return (piece) =>
        parts.reduce<Piece[]>((pieces, preTokenize) => pieces.flatMap(preTokenize), [piece]);
    }
    case "ByteLevel":
      return byteLevel(config, where);
    case "Metaspace":
      return metaspace(config, where);
    case "Split":
      return splitter(
        compilePattern(config.pattern, `${where}.pattern`),
        behaviorAt(config.behavior, `${where}.behavior`),
        booleanAt(config.invert, `${where}.invert`, false),
      );
    case "Punctuation":
      return splitter(PUNCTUATION, behaviorAt(config.behavior ?? "Isolated", `${where}.behavior`));
    case "Digits":
      return splitter(
        NUMBER,
        booleanAt(config.individual_digits, `${where}.individual_digits`)
          ? "Isolated"
          : "Contiguous",
      );
    case "Whitespace":
      return splitter(WORD_OR_SYMBOLS, "Removed", true);
    case "WhitespaceSplit":
      return splitter(SPACE, "Removed");
    case "BertPreTokenizer": {
      const words = splitter(SPACE, "Removed");
      const punctuation = splitter(PUNCTUATION, "Isolated");
      return (piece) => words(piece).flatMap(punctuation);
    }
    case "CharDelimiterSplit":
      return splitter(
        compilePattern({ String: stringAt(config.delimiter, `${where}.delimiter`) }, where),
        "Removed",
      );
    case "FixedLength":
      return fixedLength(integerAt(config.length, `${where}.length`, 5), where);
    default:
      throw unsupportedPart(where, type);
  }
}

function splitter(pattern: RegExp, behavior: SplitBehavior, invert = false): PreTokenizer {
  return ({ text, first }) => {
    const spans = findSpans(text, pattern);
    if (invert) for (const span of spans) span.match = !span.match;
    return applyBehavior(spans, behavior)
      .filter(({ start, end }) => end > start)
      .map(({ start, end }) => ({ text: text.slice(start, end), first: first && start === 0 }));
  };
}

function byteLevel(config: JsonObject, where: string): PreTokenizer {
  const prefix = booleanAt(config.add_prefix_space, `${where}.add_prefix_space`, true);
  const useRegex = booleanAt(config.use_regex, `${where}.use_regex`, true);
  const split = splitter(GPT2, "Isolated");
  return ({ text, first }) => {
    const piece = { text: prefix && !text.startsWith(" ") ? ` ${text}` : text, first };
    const pieces = useRegex ? split(piece) : [piece];
    return pieces.map((part) => ({ text: toByteChars(part.text), first: part.first }));
  };
}

function metaspace(config: JsonObject, where: string): PreTokenizer {
  const mark = stringAt(config.replacement, `${where}.replacement`);
  const scheme = prependScheme(config, where);
  const split = booleanAt(config.split, `${where}.split`, true)
    ? splitter(compilePattern({ String: mark }, where), "MergedWithNext")
    : undefined;
  return ({ text, first }) => {
    let marked = text.replaceAll(" ", () => mark);
    const prepends = scheme === "always" || (scheme === "first" && first);
    if (prepends && !marked.startsWith(mark)) marked = mark + marked;
    const piece = { text: marked, first };
    return split ? split(piece) : [piece];
  };
}

/** `always`, `first` or `never`; older files say `add_prefix_space: false` for `never`. */
export function prependScheme(config: JsonObject, where: string): "always" | "first" | "never" {
  const scheme = stringAt(config.prepend_scheme, `${where}.prepend_scheme`, "always");
  if (config.add_prefix_space === false) return "never";
  if (scheme === "always" || scheme === "first" || scheme === "never") return scheme;
  throw invalidTokenizer(`${where}.prepend_scheme`, "must be always, first or never", scheme);
}

function fixedLength(length: number, where: string): PreTokenizer {
  if (length === 0) throw invalidTokenizer(`${where}.length`, "must not be 0", length);
  return ({ text, first }) => {
    const chars = Array.from(text);
    const pieces: Piece[] = [];
    for (let i = 0; i < chars.length; i += length) {
      pieces.push({ text: chars.slice(i, i + length).join(""), first: first && i === 0 });
    }
    return pieces;
  };
}
