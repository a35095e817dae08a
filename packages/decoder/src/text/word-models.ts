import { integerAt, invalidTokenizer, type JsonObject, stringAt } from "./tokenizer-json.ts";
import type { TokenizerModel } from "./tokenizer-model.ts";

type Vocab = ReadonlyMap<string, number>;

/** WordPiece: the longest token first, from left to right; a word that cannot be cut is unknown. */
export function createWordPieceModel(config: JsonObject, vocab: Vocab): TokenizerModel {
  const prefix = stringAt(
    config.continuing_subword_prefix,
    "model.continuing_subword_prefix",
    "##",
  );
  const maxChars = integerAt(
    config.max_input_chars_per_word,
    "model.max_input_chars_per_word",
    100,
  );
  const unknown = unknownOf(config, vocab, "[UNK]");

  function cut(word: string): number[] | undefined {
    const ids: number[] = [];
    for (let start = 0; start < word.length; ) {
      let end = word.length;
      let id: number | undefined;
      for (; end > start; end--) {
        id = vocab.get((start > 0 ? prefix : "") + word.slice(start, end));
        if (id !== undefined) break;
      }
      if (id === undefined) return undefined;
      ids.push(id);
      start = end;
    }
    return ids;
  }

  return Object.freeze({
    vocab,
    encode(piece: string, out: number[]): void {
      const tooLong = piece.length > maxChars && Array.from(piece).length > maxChars;
      out.push(...((tooLong ? undefined : cut(piece)) ?? [unknown()]));
    },
  });
}

/** WordLevel: a piece is one token or unknown. */
export function createWordLevelModel(config: JsonObject, vocab: Vocab): TokenizerModel {
  const unknown = unknownOf(config, vocab, "<unk>");
  return Object.freeze({
    vocab,
    encode(piece: string, out: number[]): void {
      out.push(vocab.get(piece) ?? unknown());
    },
  });
}

/** The unknown token may be absent as long as nothing is unknown. */
function unknownOf(config: JsonObject, vocab: Vocab, fallback: string): () => number {
  const token = stringAt(config.unk_token, "model.unk_token", fallback);
  return () => {
    const id = vocab.get(token);
    if (id !== undefined) return id;
    throw invalidTokenizer("model.unk_token", "is not in model.vocab", token);
  };
}
