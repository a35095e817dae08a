import { SplitPreTokenizer } from "@huggingface/tokenizers";
import { invalidTokenizer, objectAt } from "./tokenizer-json.ts";

/** The White_Space property, which is what `\s` means in tokenizer.json; JavaScript's `\s` differs. */
export const WHITE_SPACE = "\\p{White_Space}";
/** What `\w` means there: letters, marks, decimal digits, connectors, joiners. */
export const WORD = "\\p{Alphabetic}\\p{M}\\p{Nd}\\p{Pc}\\p{Join_Control}";

/** Characters outside ASCII that fold to an ASCII letter: long s and the Kelvin sign. */
const FOLDS_TO_ASCII: ReadonlyMap<string, string> = new Map([
  ["s", "\u017f"],
  ["k", "\u212a"],
]);

const REGEX_SYNTAX = /[.*+?^${}()|[\]\\/]/g;

/**
 * Compiles `{ String }` or `{ Regex }` of tokenizer.json. Regexes are written for Oniguruma; the
 * library rewrites them for JavaScript, except for what `(?i:…)` matches outside ASCII.
 * Throws `invalid-model` for a pattern that JavaScript cannot express.
 */
export function compilePattern(pattern: unknown, where: string): RegExp {
  const { String: literal, Regex: regex } = objectAt(pattern, where);
  if (typeof literal === "string") return new RegExp(literal.replace(REGEX_SYNTAX, "\\$&"), "gu");
  if (typeof regex !== "string") {
    throw invalidTokenizer(where, "must hold a String or a Regex", pattern);
  }
  try {
    const { pattern: compiled } = new SplitPreTokenizer({
      type: "Split",
      pattern: { Regex: foldBeyondAscii(regex) },
      behavior: "Isolated",
      invert: false,
    });
    if (compiled) return compiled;
  } catch (error) {
    throw invalidTokenizer(where, `cannot be compiled (${(error as Error).message})`, regex);
  }
  throw invalidTokenizer(where, "cannot be compiled", regex);
}

/** Inside `(?i:…)`, adds the characters that fold to `s` and `k`; `(?i)…` becomes such a group. */
function foldBeyondAscii(regex: string): string {
  const source = regex.startsWith("(?i)") ? `(?i:${regex.slice(4)})` : regex;
  let out = "";
  let inClass = false;
  let fold = false;
  const enclosing: boolean[] = [];
  for (let i = 0; i < source.length; i++) {
    const char = source[i]!;
    if (char === "\\") {
      out += char + (source[++i] ?? "");
      continue;
    }
    if (inClass) inClass = char !== "]";
    else if (char === "[") inClass = true;
    else if (char === "(") {
      enclosing.push(fold);
      fold ||= source.startsWith("(?i:", i);
    } else if (char === ")") fold = enclosing.pop() ?? false;
    const folded = fold ? FOLDS_TO_ASCII.get(char.toLowerCase()) : undefined;
    if (folded === undefined) out += char;
    else out += inClass ? char + folded : `(?:${char}|${folded})`;
  }
  return out;
}
