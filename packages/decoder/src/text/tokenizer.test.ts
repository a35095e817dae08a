import { readFileSync } from "node:fs";
import { KvCacheError } from "@kvcache/core";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { loadTokenizer } from "./load-tokenizer.ts";

interface Fixture {
  tokenizerJson: { model: { vocab: Record<string, number>; merges: unknown[] } };
  tokenizerConfig: unknown;
  encode: {
    text: string;
    ids: number[];
    idsWithSpecial: number[];
    decoded: string;
    decodedSkipSpecial?: string;
  }[];
  detokenise: {
    name: string;
    ids: number[];
    text: string;
    chunks: string[];
    lazyChunks?: string[];
  }[];
}

const read = (name: string): Fixture =>
  JSON.parse(readFileSync(new URL(`./__fixtures__/${name}.json`, import.meta.url), "utf8"));

describe.each(["llama2", "qwen2", "unigram"])("the %s tokenizer", (name) => {
  const fixture = read(name);
  const tokenizer = loadTokenizer(fixture);

  it.each(fixture.encode.map((one) => [one.text, one] as const))("encodes %j", (text, one) => {
    expect([...tokenizer.encode(text, { addSpecialTokens: false })]).toEqual(one.ids);
    expect([...tokenizer.encode(text)]).toEqual(one.idsWithSpecial);
    expect(tokenizer.decode(one.ids)).toBe(one.decoded);
    expect(tokenizer.decode(one.ids, { skipSpecialTokens: true })).toBe(
      one.decodedSkipSpecial ?? one.decoded,
    );
  });

  it.each(fixture.detokenise.map((one) => [one.name, one] as const))("streams %j", (_, one) => {
    const stream = tokenizer.streamDecoder({ skipSpecialTokens: true });
    let text = "";
    let eager = "";
    let lazy = "";
    one.ids.forEach((id, i) => {
      text += stream.push(id);
      eager += one.chunks[i]!;
      lazy += (one.lazyChunks ?? one.chunks)[i]!;
      expect(eager.startsWith(text) && text.startsWith(lazy)).toBe(true);
    });
    expect(text + stream.flush()).toBe(one.text);
  });

  it("streams what it decodes, never half a character", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), fc.boolean(), (text, skipSpecialTokens) => {
        const ids = tokenizer.encode(text);
        const stream = tokenizer.streamDecoder({ skipSpecialTokens });
        const chunks = [...ids].map((id) => stream.push(id));
        for (const chunk of chunks) expect(chunk).not.toMatch(/\p{Surrogate}/u);
        expect(chunks.join("") + stream.flush()).toBe(tokenizer.decode(ids, { skipSpecialTokens }));
      }),
    );
  });
});

describe("byte-level tokenizers", () => {
  const tokenizer = loadTokenizer(read("qwen2"));

  it("give back any text that their normalizer leaves alone", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary" }), (text) => {
        const ids = tokenizer.encode(text, { addSpecialTokens: false });
        expect(tokenizer.decode(ids)).toBe(text.normalize("NFC"));
      }),
    );
  });

  it("stream any tokens to what a whole decoding gives", () => {
    fc.assert(
      fc.property(fc.array(fc.nat(tokenizer.vocabSize - 1)), (ids) => {
        const stream = tokenizer.streamDecoder();
        const text = ids.map((id) => stream.push(id)).join("") + stream.flush();
        expect(text).toBe(tokenizer.decode(ids));
      }),
    );
  });

  it("take half a surrogate pair for U+FFFD", () => {
    const ids = tokenizer.encode("a\ud83db", { addSpecialTokens: false });
    expect(tokenizer.decode(ids)).toBe("a\ufffdb");
  });
});

describe("byte fallback", () => {
  const tokenizer = loadTokenizer(read("llama2"));
  const bytes = (...values: number[]) =>
    values.map((value) => tokenizer.tokenId(`<0x${value.toString(16).toUpperCase()}>`)!);

  it("turns a run that is not UTF-8 as a whole into one U+FFFD a byte", () => {
    expect(tokenizer.decode(bytes(0xc3, 0xa9))).toBe("é");
    expect(tokenizer.decode(bytes(0xc3, 0xa9, 0xff))).toBe("\ufffd\ufffd\ufffd");
  });

  it("streams whole characters and never takes back what it emitted", () => {
    const stream = tokenizer.streamDecoder();
    const chunks = bytes(0xc3, 0xa9, 0xff, 0xc3, 0xa9).map((id) => stream.push(id));
    expect([...chunks, stream.flush()]).toEqual(["", "é", "", "", "", "\ufffd\ufffd\ufffd"]);
  });
});

it("knows its tokens", () => {
  const tokenizer = loadTokenizer(read("qwen2"));
  const id = tokenizer.tokenId("<|im_end|>")!;
  expect(tokenizer.token(id)).toBe("<|im_end|>");
  expect(tokenizer.isSpecial(id)).toBe(true);
  expect(tokenizer.isSpecial(tokenizer.tokenId("<think>")!)).toBe(false);
  expect(tokenizer.tokenId("no such token")).toBeUndefined();
  expect(tokenizer.specialTokens).toMatchObject({ eos_token: "<|im_end|>" });
});

describe("a malformed tokenizer.json", () => {
  const broken = (change: (file: Fixture["tokenizerJson"]) => void) => () => {
    const file = structuredClone(read("qwen2").tokenizerJson);
    change(file);
    return loadTokenizer({ tokenizerJson: file });
  };
  it.each<[string, RegExp, () => unknown]>([
    ["is not JSON", /tokenizer\.json.*JSON/, () => loadTokenizer({ tokenizerJson: "{" })],
    ["is an array", /tokenizer\.json/, () => loadTokenizer({ tokenizerJson: [] })],
    ["merges unknown tokens", /merges\[\d+\].*zz/, broken((f) => f.model.merges.push(["zz", "q"]))],
    ["has a negative id", /vocab.*integer/, broken((f) => Object.assign(f.model.vocab, { a: -3 }))],
    [
      "has an id as text",
      /vocab.*integer/,
      broken((f) => Object.assign(f.model.vocab, { a: "3" })),
    ],
    [
      "adds an id beyond 31 bits",
      /added_tokens\[0\]\.id/,
      broken((f) => Object.assign(f, { added_tokens: [{ id: 4e9, content: "<huge>" }] })),
    ],
    [
      "has an unknown part",
      /"Frobnicate"/,
      broken((f) => Object.assign(f, { normalizer: { type: "Frobnicate" } })),
    ],
    [
      "has a regex that cannot be compiled",
      /pattern/,
      broken((f) =>
        Object.assign(f, {
          pre_tokenizer: { type: "Split", pattern: { Regex: "(" }, behavior: "Isolated" },
        }),
      ),
    ],
  ])("that %s is refused by name", (_, message, load) => {
    expect(load).toThrow(message);
    expect(load).toThrow(KvCacheError);
  });
});
