import type { CacheLayout, PrefixKey, SequenceSlot } from "@kvcache/core";

/*
 * A naive model of a paged cache: per sequence its token ids and, per row, the set of positions that
 * are cached. Every stored number is a function of the tokens up to its position, its namespace and
 * its row, as in a real decoder, so contents can be checked wherever blocks came from.
 */

const entry = (dtype: "f32" | "f16") => ({ dtype, width: 2, metaBytes: 0 }) as const;
export const blockSize = 4;
export const windowSize = 5;
export const slidingWindow = 7;
const numHeads = 2;

/** Four layers: 0 and 3 in arena 0 (f32), 1 reads 0, 2 in arena 1 (f16) with a sliding window. */
export const layout: CacheLayout = {
  shape: { numLayers: 4, numQueryHeads: 4, numKvHeads: numHeads, headDim: 2 },
  arenas: [
    { blockSize, key: entry("f32"), value: entry("f32") },
    { blockSize, key: entry("f16"), value: entry("f16") },
  ],
  arenaOfLayer: [0, 0, 1, 0],
  layerMap: [0, 0, 2, 3],
  slidingWindow: [undefined, undefined, slidingWindow, undefined],
};
export const ownedRows = [0, 1, 4, 5, 6, 7];
export const arenaOf = (row: number) => (row === 4 || row === 5 ? 1 : 0);
export const numRows = 8;

export interface Sequence {
  readonly slot: SequenceSlot;
  readonly namespace: string;
  tokens: number[];
  /** hashes[p] depends on namespace and tokens[0 … p]. */
  hashes: number[];
  /** Cached positions per owned row. */
  rows: Map<number, Set<number>>;
  queries: Set<number>;
  promised: number;
  compressed: boolean;
}

export interface CompressedPrompt {
  readonly key: PrefixKey;
  readonly fingerprint: string;
  readonly rows: Map<number, Set<number>>;
  readonly queries: Set<number>;
}

const mix = (a: number, b: number) => {
  let h = Math.imul(a ^ (b + 0x9e3779b9 + (a << 6)), 0x85ebca6b);
  h ^= h >>> 13;
  return Math.imul(h, 0xc2b2ae35) ^ (h >>> 16);
};

/** Small integers, so that f16 holds them exactly. */
export const number = (hash: number, row: number, i: number) => mix(mix(hash, row), i) & 1023;

export function fail(message: string): never {
  throw new Error(message);
}

export const emptySequence = (slot: SequenceSlot, namespace: string): Sequence => ({
  slot,
  namespace,
  tokens: [],
  hashes: [],
  rows: new Map(ownedRows.map((row) => [row, new Set<number>()])),
  queries: new Set<number>(),
  promised: 0,
  compressed: false,
});

/** What a sequence holds, to be shared with nobody. */
export const copyOf = ({ rows, queries }: Pick<Sequence, "rows" | "queries">) => ({
  rows: new Map([...rows].map(([row, set]) => [row, new Set(set)])),
  queries: new Set(queries),
});

export function extend(sequence: Sequence, ids: readonly number[]): void {
  for (const id of ids) {
    const last = sequence.hashes.at(-1) ?? (sequence.namespace === "a" ? 17 : 91);
    sequence.hashes.push(mix(last, id + 1));
    sequence.tokens.push(id);
  }
}

export const keyOf = ({ namespace }: Sequence, tokens: readonly number[]): PrefixKey => ({
  namespace,
  tokenIds: Int32Array.from(tokens),
});
