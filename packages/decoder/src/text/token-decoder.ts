import { byteFallbackStage, byteLevelStage } from "./byte-stages.ts";
import { chained, collected, type DecoderStage, perToken } from "./decoder-stage.ts";
import { compilePattern } from "./oniguruma-pattern.ts";
import { prependScheme } from "./pre-tokenizer.ts";
import { replaceMatches } from "./split-text.ts";
import {
  cleanUpSpaces,
  ctcStage,
  replaceStream,
  stripStream,
  stripToken,
  suffixStage,
} from "./text-stages.ts";
import {
  arrayAt,
  booleanAt,
  integerAt,
  type JsonObject,
  objectAt,
  partAt,
  stringAt,
  unsupportedPart,
} from "./tokenizer-json.ts";

/** Starts the decoding of one list of tokens; `eager` emits characters as early as possible. */
export type TokenDecoder = (eager: boolean) => DecoderStage;

interface Part {
  readonly start: TokenDecoder;
  /** Whether what comes out is one long token in fragments rather than a token each. */
  readonly fuses: boolean;
}

/** The decoder that `config` describes; null joins the tokens with spaces. */
export function createTokenDecoder(config: unknown): TokenDecoder {
  if (config === null || config === undefined) {
    return () => perToken((token, index) => (index > 0 ? ` ${token}` : token));
  }
  return createPart(config, "decoder", false).start;
}

/** `fused`: an earlier part made one token of all, so that this one sees it in fragments. */
function createPart(value: unknown, where: string, fused: boolean): Part {
  const { type, config } = partAt(value, where);
  if (type === "Sequence") return createSequence(config, where, fused);
  if (type === "Fuse") return { start: () => perToken((token) => token), fuses: true };
  if (type === "Strip") return createStrip(config, where, fused);
  if (type === "Replace") return createReplace(config, where, fused);
  const start = createTokenPart(type, config, where);
  return {
    start: fused ? (eager) => collected(() => start(eager)) : start,
    fuses: fused || type === "ByteLevel",
  };
}

function createSequence(config: JsonObject, where: string, fused: boolean): Part {
  let fuses = fused;
  const parts = arrayAt(config.decoders, `${where}.decoders`).map((entry, i) => {
    const part = createPart(entry, `${where}.decoders[${i}]`, fuses);
    fuses = part.fuses;
    return part;
  });
  return { start: (eager) => chained(parts.map((part) => part.start(eager))), fuses };
}

function createStrip(config: JsonObject, where: string, fused: boolean): Part {
  const content = stringAt(config.content, `${where}.content`);
  const start = integerAt(config.start, `${where}.start`);
  const stop = integerAt(config.stop, `${where}.stop`);
  return {
    start: () =>
      fused ? stripStream(content, start, stop) : perToken(stripToken(content, start, stop)),
    fuses: fused,
  };
}

function createReplace(config: JsonObject, where: string, fused: boolean): Part {
  const pattern = compilePattern(config.pattern, `${where}.pattern`);
  const { String: literal } = objectAt(config.pattern, `${where}.pattern`);
  const content = stringAt(config.content, `${where}.content`);
  const whole = () => perToken((token) => replaceMatches(token, pattern, content));
  const streams = fused && typeof literal === "string" && literal !== "";
  return {
    start: () => (streams ? replaceStream(literal, content) : fused ? collected(whole) : whole()),
    fuses: fused,
  };
}

function createTokenPart(type: string, config: JsonObject, where: string): TokenDecoder {
  switch (type) {
    case "ByteLevel":
      return byteLevelStage;
    case "ByteFallback":
      return byteFallbackStage;
    case "Metaspace": {
      const mark = stringAt(config.replacement, `${where}.replacement`);
      const first = prependScheme(config, where) === "never" ? " " : "";
      return () => perToken((token, index) => token.replaceAll(mark, index === 0 ? first : " "));
    }
    case "WordPiece": {
      const prefix = stringAt(config.prefix, `${where}.prefix`);
      const cleanup = booleanAt(config.cleanup, `${where}.cleanup`);
      return () =>
        perToken((token, index) => {
          const joined = token.startsWith(prefix) ? token.slice(prefix.length) : ` ${token}`;
          const text = index === 0 ? token : joined;
          return cleanup ? cleanUpSpaces(text) : text;
        });
    }
    case "BPEDecoder": {
      const suffix = stringAt(config.suffix, `${where}.suffix`);
      return () => suffixStage(suffix);
    }
    case "CTC": {
      const pad = stringAt(config.pad_token, `${where}.pad_token`);
      const delimiter = stringAt(config.word_delimiter_token, `${where}.word_delimiter_token`);
      const cleanup = booleanAt(config.cleanup, `${where}.cleanup`);
      return () => ctcStage(pad, delimiter, cleanup);
    }
    default:
      throw unsupportedPart(where, type);
  }
}
