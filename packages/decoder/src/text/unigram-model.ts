import { byteFallback } from "./byte-fallback.ts";
import {
  arrayAt,
  booleanAt,
  integerAt,
  invalidTokenizer,
  type JsonObject,
  stringAt,
} from "./tokenizer-json.ts";
import type { TokenizerModel } from "./tokenizer-model.ts";

/** How much worse than the worst token an unknown character scores. */
const UNKNOWN_PENALTY = 10;

/**
 * Unigram language model: a piece becomes the sequence of tokens with the highest sum of scores
 * (Viterbi; of two equal ways the one that was found first). Neighbouring unknown characters make
 * one token. Kudo 2018, arXiv:1804.10959.
 */
export function createUnigramModel(config: JsonObject): TokenizerModel {
  const vocab = new Map<string, number>();
  const scores: number[] = [];
  let maxLength = 0;
  arrayAt(config.vocab, "model.vocab").forEach((entry, id) => {
    const [token, score] = arrayAt(entry, `model.vocab[${id}]`);
    if (typeof score !== "number") {
      throw invalidTokenizer(`model.vocab[${id}]`, "must be a token and its score", entry);
    }
    const text = stringAt(token, `model.vocab[${id}][0]`);
    vocab.set(text, id);
    scores.push(score);
    maxLength = Math.max(maxLength, text.length);
  });
  const unknown = unknownId(config.unk_id, scores.length);
  const unknownScore =
    scores.reduce((low, score) => Math.min(low, score), Number.POSITIVE_INFINITY) - UNKNOWN_PENALTY;
  const toBytes = booleanAt(config.byte_fallback, "model.byte_fallback", false)
    ? byteFallback(vocab)
    : undefined;

  /** The best cut of `piece`, as end positions with the token that ends there, last first. */
  function bestTokens(piece: string): { start: number; end: number; id: number }[] {
    const best = new Float64Array(piece.length + 1).fill(Number.NEGATIVE_INFINITY);
    const startOf = new Int32Array(piece.length + 1).fill(-1);
    const idOf = new Int32Array(piece.length + 1);
    const offer = (start: number, end: number, id: number, score: number): void => {
      const candidate = best[start]! + score;
      if (startOf[end]! >= 0 && candidate <= best[end]!) return;
      best[end] = candidate;
      startOf[end] = start;
      idOf[end] = id;
    };
    best[0] = 0;
    for (let start = 0; start < piece.length; ) {
      const next = start + (piece.codePointAt(start)! > 0xffff ? 2 : 1);
      const last = Math.min(piece.length, start + maxLength);
      let hasSingle = false;
      for (let end = next; end <= last; end++) {
        const id = vocab.get(piece.slice(start, end));
        if (id === undefined) continue;
        offer(start, end, id, scores[id]!);
        hasSingle ||= end === next;
      }
      if (!hasSingle) offer(start, next, requireUnknown(), unknownScore);
      start = next;
    }
    const tokens = [];
    for (let end = piece.length; end > 0; end = startOf[end]!) {
      tokens.push({ start: startOf[end]!, end, id: idOf[end]! });
    }
    return tokens;
  }

  function requireUnknown(): number {
    if (unknown !== undefined) return unknown;
    throw invalidTokenizer("model.unk_id", "is missing, and the text holds an unknown character");
  }

  return Object.freeze({
    vocab,
    encode(piece: string, out: number[]): void {
      const tokens = bestTokens(piece).reverse();
      for (let i = 0; i < tokens.length; i++) {
        const { start, id } = tokens[i]!;
        if (id === unknown) while (tokens[i + 1]?.id === unknown) i++;
        const text = piece.slice(start, tokens[i]!.end);
        const known = vocab.get(text);
        if (known !== undefined) out.push(known);
        else out.push(...(toBytes?.(text) ?? [requireUnknown()]));
      }
    },
  });
}

function unknownId(value: unknown, size: number): number | undefined {
  if (value === null || value === undefined) return undefined;
  const id = integerAt(value, "model.unk_id");
  if (id >= size) throw invalidTokenizer("model.unk_id", "is not in model.vocab", id);
  return id;
}
