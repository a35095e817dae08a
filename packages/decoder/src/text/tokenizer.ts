import { KvCacheError } from "@kvcache/core";
import { addedTokenSplitter, readAddedTokens } from "./added-tokens.ts";
import { createNormalizer } from "./normalizer.ts";
import { createPreTokenizer, type Piece } from "./pre-tokenizer.ts";
import { readSpecialTokenFrame } from "./special-token-frame.ts";
import { tokenBytesReader } from "./token-bytes.ts";
import { createTokenDecoder } from "./token-decoder.ts";
import { invalidTokenizer, objectAt } from "./tokenizer-json.ts";
import { createTokenizerModel } from "./tokenizer-model.ts";

/** Text arrives as its tokens do; see `Tokenizer.streamDecoder`. */
export interface StreamDecoder {
  /** The text that this token completes, possibly none. */
  push(id: number): string;
  /** What is left when the stream ends: U+FFFD for an unfinished character. */
  flush(): string;
}

/** Text to token ids and back, as tokenizer.json says. */
export interface Tokenizer {
  /** Number of distinct tokens, added ones included. The model's vocabulary may be padded. */
  readonly vocabSize: number;
  /**
   * The token ids of `text`. Added tokens that occur in the text become their ids.
   * With `addSpecialTokens` (default true) the post-processor adds its own, such as BOS; prompts
   * that a chat template made already have them.
   */
  encode(text: string, options?: { addSpecialTokens?: boolean }): Int32Array;
  /**
   * The text of `ids`. Ids without a token are left out; `skipSpecialTokens` (default false) also
   * leaves out tokens that are marked special.
   */
  decode(ids: Iterable<number>, options?: { skipSpecialTokens?: boolean }): string;
  /**
   * Decodes one token at a time. What was emitted so far never changes, and never ends inside a
   * character: bytes wait for the rest of theirs. All chunks and the flush together are what
   * `decode` gives, except where byte-fallback tokens first spell a character and then go wrong.
   */
  streamDecoder(options?: { skipSpecialTokens?: boolean }): StreamDecoder;
  /** The id of a token given as it stands in the vocabulary; undefined when there is none. */
  tokenId(token: string): number | undefined;
  /** The token of an id as it stands in the vocabulary; undefined when there is none. */
  token(id: number): string | undefined;
  /**
   * The bytes that a token adds to the UTF-8 of a text that it does not begin, perhaps only a part of
   * a character; undefined for an id without a token.
   */
  tokenBytes(id: number): Uint8Array | undefined;
  /** Whether the token is one that `skipSpecialTokens` leaves out. */
  isSpecial(id: number): boolean;
}

/**
 * Builds the tokenizer of a tokenizer.json, given as its text or parsed. Follows the Rust library
 * `tokenizers` (0.22); truncation and padding settings are ignored.
 * Throws `invalid-model` for a file that is malformed or contradicts itself, `unsupported` for a
 * part that is unknown here.
 */
export function createTokenizer(tokenizerJson: unknown): Tokenizer {
  const file = objectAt(parse(tokenizerJson), "the file");
  const normalize = createNormalizer(file.normalizer);
  const preTokenize = createPreTokenizer(file.pre_tokenizer);
  const model = createTokenizerModel(file.model);
  const frame = readSpecialTokenFrame(file.post_processor);
  const startDecoding = createTokenDecoder(file.decoder);

  const addedTokens = readAddedTokens(file.added_tokens).filter(({ content }) => content !== "");
  const splitRaw = addedTokenSplitter(addedTokens.filter((token) => !token.normalized));
  const splitNormalized = addedTokenSplitter(
    addedTokens.filter((token) => token.normalized),
    normalize,
  );
  const tokens = new Map<number, string>();
  for (const [token, id] of model.vocab) tokens.set(id, token);
  const addedIds = new Map<string, number>();
  const specialContents = new Set<string>();
  for (const { id, content, special } of addedTokens) {
    tokens.set(id, content);
    addedIds.set(content, id);
    if (special) specialContents.add(content);
  }

  const bytesOfToken = tokenBytesReader(file.decoder, startDecoding);

  function isSpecial(id: number): boolean {
    const token = tokens.get(id);
    return token !== undefined && specialContents.has(token);
  }

  function encodePiece(piece: Piece, out: number[]): void {
    for (const { text } of preTokenize(piece)) {
      if (text !== "") model.encode(text, out);
    }
  }

  function encode(text: string, { addSpecialTokens = true } = {}): Int32Array {
    const out: number[] = addSpecialTokens ? [...frame.before] : [];
    for (const section of splitRaw(replaceLoneSurrogates(text))) {
      if ("id" in section) {
        out.push(section.id);
        continue;
      }
      for (const part of splitNormalized(normalize(section.text))) {
        if ("id" in part) out.push(part.id);
        else encodePiece({ text: part.text, first: section.start === 0 && part.start === 0 }, out);
      }
    }
    if (addSpecialTokens) out.push(...frame.after);
    return Int32Array.from(out);
  }

  function startStream(skipSpecialTokens: boolean, eager: boolean): StreamDecoder {
    const stage = startDecoding(eager);
    return {
      push(id) {
        const token = tokens.get(id);
        if (token === undefined || (skipSpecialTokens && specialContents.has(token))) return "";
        return stage.push(token).join("");
      },
      flush: () => stage.flush().join(""),
    };
  }

  function decode(ids: Iterable<number>, { skipSpecialTokens = false } = {}): string {
    const stream = startStream(skipSpecialTokens, false);
    let text = "";
    for (const id of ids) text += stream.push(id);
    return text + stream.flush();
  }

  return Object.freeze({
    vocabSize: new Set([...model.vocab.keys(), ...addedIds.keys()]).size,
    encode,
    decode,
    streamDecoder: ({ skipSpecialTokens = false } = {}) => startStream(skipSpecialTokens, true),
    tokenId: (token: string) => addedIds.get(token) ?? model.vocab.get(token),
    token: (id: number) => tokens.get(id),
    tokenBytes(id: number) {
      const token = tokens.get(id);
      return token === undefined ? undefined : bytesOfToken(token);
    },
    isSpecial,
  });
}

function parse(tokenizerJson: unknown): unknown {
  if (typeof tokenizerJson !== "string") return tokenizerJson;
  try {
    return JSON.parse(tokenizerJson);
  } catch (error) {
    throw invalidTokenizer("the file", `is not JSON (${(error as Error).message})`);
  }
}

/** A string with half a surrogate pair has no UTF-8; the half becomes U+FFFD. */
function replaceLoneSurrogates(text: string): string {
  if (typeof text !== "string") {
    throw new KvCacheError("invalid-argument", "text to encode must be a string.", { value: text });
  }
  return text.replace(/\p{Surrogate}/gu, "\ufffd");
}
