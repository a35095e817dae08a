import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { createNormalizer } from "./normalizer.ts";
import { createPreTokenizer } from "./pre-tokenizer.ts";
import { createTokenDecoder } from "./token-decoder.ts";
import { createTokenizer } from "./tokenizer.ts";

interface Fixture {
  normalizers: { config: unknown; texts: [string, string][] }[];
  preTokenizers: { config: unknown; texts: [string, string[]][] }[];
  decoders: { config: unknown; tokens: [string[], string][] }[];
  tokenizers: { tokenizer: unknown; texts: [string, number[]][] }[];
}

// What tokenizers 0.22.2 makes of the same parts, configured at random.
const fixture = JSON.parse(
  readFileSync(new URL("./__fixtures__/components.json", import.meta.url), "utf8"),
) as Fixture;

const name = (config: unknown): string => JSON.stringify(config).slice(0, 160);

describe("normalizers", () => {
  it.each(fixture.normalizers.map((part) => [name(part.config), part] as const))(
    "%s",
    (_, part) => {
      const normalize = createNormalizer(part.config);
      for (const [text, expected] of part.texts) expect(normalize(text)).toBe(expected);
    },
  );
});

describe("pre-tokenizers", () => {
  it.each(fixture.preTokenizers.map((part) => [name(part.config), part] as const))(
    "%s",
    (_, part) => {
      const preTokenize = createPreTokenizer(part.config);
      for (const [text, expected] of part.texts) {
        expect(preTokenize({ text, first: true }).map((piece) => piece.text)).toEqual(expected);
      }
    },
  );
});

describe("decoders", () => {
  it.each(fixture.decoders.map((part) => [name(part.config), part] as const))("%s", (_, part) => {
    const start = createTokenDecoder(part.config);
    for (const [tokens, expected] of part.tokens) {
      const stage = start(false);
      const text = [...tokens.flatMap((token) => stage.push(token)), ...stage.flush()].join("");
      expect(text).toBe(expected);
    }
  });
});

describe("models with added tokens", () => {
  it.each(fixture.tokenizers.map((part, i) => [i, part] as const))("%i", (_, part) => {
    const tokenizer = createTokenizer(part.tokenizer);
    for (const [text, ids] of part.texts) expect([...tokenizer.encode(text)]).toEqual(ids);
  });
});
