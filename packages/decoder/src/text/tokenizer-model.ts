import { createBpeModel } from "./bpe-model.ts";
import { integerAt, objectAt, unsupportedPart } from "./tokenizer-json.ts";
import { createUnigramModel } from "./unigram-model.ts";
import { createWordLevelModel, createWordPieceModel } from "./word-models.ts";

/** Turns one piece of text into token ids. */
export interface TokenizerModel {
  readonly vocab: ReadonlyMap<string, number>;
  /** Appends the ids of `piece` (not empty) to `out`. */
  encode(piece: string, out: number[]): void;
}

/** The model that `config` describes. Files before 2020 may leave out its type. */
export function createTokenizerModel(value: unknown): TokenizerModel {
  const config = objectAt(value, "model");
  const type = config.type ?? guessType(config.vocab, config.merges);
  if (type === "Unigram") return createUnigramModel(config);
  const vocab = readVocab(config.vocab);
  if (type === "BPE") return createBpeModel(config, vocab);
  if (type === "WordPiece") return createWordPieceModel(config, vocab);
  if (type === "WordLevel") return createWordLevelModel(config, vocab);
  throw unsupportedPart("model", String(type));
}

function guessType(vocab: unknown, merges: unknown): string {
  if (Array.isArray(vocab)) return "Unigram";
  return merges === undefined ? "WordPiece" : "BPE";
}

function readVocab(value: unknown): Map<string, number> {
  const vocab = new Map<string, number>();
  for (const [token, id] of Object.entries(objectAt(value, "model.vocab"))) {
    vocab.set(token, integerAt(id, `model.vocab[${JSON.stringify(token)}]`));
  }
  return vocab;
}
