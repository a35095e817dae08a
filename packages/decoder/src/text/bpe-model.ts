import { byteFallback } from "./byte-fallback.ts";
import { mergeHeap } from "./merge-heap.ts";
import {
  arrayAt,
  booleanAt,
  invalidTokenizer,
  type JsonObject,
  stringAt,
} from "./tokenizer-json.ts";
import type { TokenizerModel } from "./tokenizer-model.ts";

/** Pairs are keyed as left · 2^26 + right, which a double holds exactly. */
const PAIR = 2 ** 26;
const MAX_CACHED_PIECES = 10_000;
const MAX_CACHED_LENGTH = 256;

interface Merge {
  readonly rank: number;
  readonly id: number;
}

/**
 * Byte-pair encoding: a piece is cut into characters, then the adjacent pair with the lowest rank
 * is merged, the leftmost first, until no pair has a rank. Sennrich et al. 2016, arXiv:1508.07909.
 */
export function createBpeModel(
  config: JsonObject,
  vocab: ReadonlyMap<string, number>,
): TokenizerModel {
  const prefix = stringAt(
    config.continuing_subword_prefix ?? "",
    "model.continuing_subword_prefix",
  );
  const suffix = stringAt(config.end_of_word_suffix ?? "", "model.end_of_word_suffix");
  const fuseUnknown = booleanAt(config.fuse_unk, "model.fuse_unk", false);
  const ignoreMerges = booleanAt(config.ignore_merges, "model.ignore_merges", false);
  const toBytes = booleanAt(config.byte_fallback, "model.byte_fallback", false)
    ? byteFallback(vocab)
    : undefined;
  const unknown = unknownToken(config.unk_token, vocab);
  const merges = readMerges(config.merges, vocab, prefix.length);
  const cache = new Map<string, readonly number[]>();

  /** The ids of single characters, before any merge. */
  function symbolsOf(piece: string): number[] {
    const symbols: number[] = [];
    let pendingUnknown: number | undefined;
    for (let start = 0; start < piece.length; ) {
      const char = String.fromCodePoint(piece.codePointAt(start)!);
      const end = start + char.length;
      const symbol = (start > 0 ? prefix : "") + char + (end === piece.length ? suffix : "");
      start = end;
      const id = vocab.get(symbol);
      if (id !== undefined) {
        if (pendingUnknown !== undefined) symbols.push(pendingUnknown);
        pendingUnknown = undefined;
        symbols.push(id);
        continue;
      }
      const bytes = toBytes?.(symbol);
      // A pending unknown token stays pending across bytes, as in the original.
      if (bytes) symbols.push(...bytes);
      else if (unknown !== undefined) {
        if (pendingUnknown !== undefined && !fuseUnknown) symbols.push(pendingUnknown);
        pendingUnknown = unknown;
      }
    }
    if (pendingUnknown !== undefined) symbols.push(pendingUnknown);
    return symbols;
  }

  /** Merges in place over a linked list; heap entries whose pair has changed since are skipped. */
  function mergeAll(symbols: number[]): number[] {
    const length = symbols.length;
    const ids = Int32Array.from(symbols);
    const next = Int32Array.from(symbols, (_, i) => (i + 1 < length ? i + 1 : -1));
    const previous = Int32Array.from(symbols, (_, i) => i - 1);
    const heap = mergeHeap();
    const mergeAt = (left: number): Merge | undefined => {
      const right = next[left]!;
      return right < 0 ? undefined : merges.get(ids[left]! * PAIR + ids[right]!);
    };
    const offer = (left: number): void => {
      const merge = mergeAt(left);
      if (merge) heap.push(merge.rank, left);
    };
    for (let i = 0; i + 1 < length; i++) offer(i);
    for (let top = heap.pop(); top; top = heap.pop()) {
      const { rank, position: left } = top;
      const merge = ids[left]! < 0 ? undefined : mergeAt(left);
      if (merge?.rank !== rank) continue;
      const right = next[left]!;
      ids[left] = merge.id;
      ids[right] = -1;
      next[left] = next[right]!;
      if (next[left]! >= 0) previous[next[left]!] = left;
      if (previous[left]! >= 0) offer(previous[left]!);
      offer(left);
    }
    return Array.from(ids).filter((id) => id >= 0);
  }

  function idsOf(piece: string): readonly number[] {
    const whole = ignoreMerges ? vocab.get(piece) : undefined;
    return whole === undefined ? mergeAll(symbolsOf(piece)) : [whole];
  }

  return Object.freeze({
    vocab,
    encode(piece: string, out: number[]): void {
      let ids = cache.get(piece);
      if (!ids) {
        ids = idsOf(piece);
        if (piece.length < MAX_CACHED_LENGTH && cache.size < MAX_CACHED_PIECES) {
          cache.set(piece, ids);
        }
      }
      for (const id of ids) out.push(id);
    },
  });
}

function unknownToken(value: unknown, vocab: ReadonlyMap<string, number>): number | undefined {
  if (value === null || value === undefined) return undefined;
  const token = stringAt(value, "model.unk_token");
  const id = vocab.get(token);
  if (id === undefined) throw invalidTokenizer("model.unk_token", "is not in model.vocab", token);
  return id;
}

/** `["a", "b"]` or, in older files, `"a b"`; the rank of a merge is its place in the list. */
function readMerges(
  value: unknown,
  vocab: ReadonlyMap<string, number>,
  prefixLength: number,
): Map<number, Merge> {
  const merges = new Map<number, Merge>();
  arrayAt(value, "model.merges").forEach((entry, rank) => {
    const where = `model.merges[${rank}]`;
    const pair = typeof entry === "string" ? entry.split(" ") : arrayAt(entry, where);
    if (pair.length !== 2) throw invalidTokenizer(where, "must be a pair of tokens", entry);
    const left = stringAt(pair[0], where);
    const right = stringAt(pair[1], where);
    const merged = left + right.slice(prefixLength);
    const [leftId, rightId, id] = [left, right, merged].map((token) => {
      const found = vocab.get(token);
      if (found !== undefined && found < PAIR) return found;
      throw invalidTokenizer(where, `needs ${JSON.stringify(token)} in model.vocab`, entry);
    });
    merges.set(leftId! * PAIR + rightId!, { rank, id: id! });
  });
  return merges;
}
