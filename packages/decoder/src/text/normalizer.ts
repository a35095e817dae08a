import { toByteChars } from "./byte-level-alphabet.ts";
import { compilePattern, WHITE_SPACE } from "./oniguruma-pattern.ts";
import { compileCharsmap } from "./precompiled-charsmap.ts";
import { replaceMatches } from "./split-text.ts";
import {
  arrayAt,
  booleanAt,
  type JsonObject,
  partAt,
  stringAt,
  unsupportedPart,
} from "./tokenizer-json.ts";
import { leadingSpace, trailingSpace } from "./white-space.ts";

export type Normalizer = (text: string) => string;

const ANY_SPACE = new RegExp(WHITE_SPACE, "gu");

/** The normalizer that `config` describes; null leaves the text as it is. */
export function createNormalizer(value: unknown, where = "normalizer"): Normalizer {
  if (value === null || value === undefined) return (text) => text;
  const { type, config } = partAt(value, where);
  switch (type) {
    case "Sequence": {
      const parts = arrayAt(config.normalizers, `${where}.normalizers`).map((part, i) =>
        createNormalizer(part, `${where}.normalizers[${i}]`),
      );
      return (text) => parts.reduce((result, normalize) => normalize(result), text);
    }
    case "NFC":
    case "NFD":
    case "NFKC":
    case "NFKD":
      return (text) => text.normalize(type);
    case "Lowercase":
      return lowercase;
    case "StripAccents":
      return (text) => text.replace(/\p{M}/gu, "");
    case "Strip":
      return strip(config, where);
    case "Prepend": {
      const prefix = stringAt(config.prepend, `${where}.prepend`);
      return (text) => (text === "" ? "" : prefix + text);
    }
    case "Replace": {
      const pattern = compilePattern(config.pattern, `${where}.pattern`);
      const content = stringAt(config.content, `${where}.content`);
      return (text) => replaceMatches(text, pattern, content);
    }
    case "ByteLevel":
      return toByteChars;
    case "Nmt":
      return (text) => text.replace(NMT_REMOVED, "").replace(NMT_SPACES, " ");
    case "Precompiled":
      return compileCharsmap(
        stringAt(config.precompiled_charsmap, `${where}.precompiled_charsmap`),
        `${where}.precompiled_charsmap`,
      );
    case "BertNormalizer":
      return bert(config, where);
    default:
      throw unsupportedPart(where, type);
  }
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: NMT removes exactly these controls.
const NMT_REMOVED = /[\x01-\x08\x0b\x0e-\x1f\x7f\x8f\x9f]/g;
const NMT_SPACES = /[\t\n\f\r\u1680\u200b-\u200f\u2028\u2029\u2581\ufeff\ufffd]/g;

/** Letter by letter, as the original does: a final sigma stays a plain one. */
function lowercase(text: string): string {
  // Without a sigma or a dotted capital I the context-free and the usual mapping agree.
  if (!/[\u03a3\u0130]/.test(text)) return text.toLowerCase();
  return Array.from(text, (char) => char.toLowerCase()).join("");
}

function strip(config: JsonObject, where: string): Normalizer {
  const left = booleanAt(config.strip_left, `${where}.strip_left`);
  const right = booleanAt(config.strip_right, `${where}.strip_right`);
  return (text) =>
    text.slice(left ? leadingSpace(text) : 0, right ? trailingSpace(text) : text.length);
}

/** CJK ideographs, which BERT tokenizers set apart with spaces. */
const IDEOGRAPH =
  /[\u4e00-\u9fff\u3400-\u4dbf\u{20000}-\u{2a6df}\u{2a700}-\u{2b73f}\u{2b740}-\u{2b81f}\u{2b920}-\u{2ceaf}\uf900-\ufaff\u{2f800}-\u{2fa1f}]/gu;
/** Controls, formats, unassigned and private characters; tab and line ends are white space here. */
const CONTROL = /(?![\t\n\r])[\p{Cc}\p{Cf}\p{Cn}\p{Co}\ufffd]/gu;

function bert(config: JsonObject, where: string): Normalizer {
  const cleanText = booleanAt(config.clean_text, `${where}.clean_text`);
  const ideographs = booleanAt(config.handle_chinese_chars, `${where}.handle_chinese_chars`);
  const toLower = booleanAt(config.lowercase, `${where}.lowercase`);
  const stripAccents = booleanAt(config.strip_accents, `${where}.strip_accents`, toLower);
  return (text) => {
    let out = text;
    if (cleanText) out = out.replace(CONTROL, "").replace(ANY_SPACE, " ");
    if (ideographs) out = out.replace(IDEOGRAPH, " $& ");
    if (stripAccents) out = out.normalize("NFD").replace(/\p{Mn}/gu, "");
    return toLower ? lowercase(out) : out;
  };
}
