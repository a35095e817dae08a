import {
  type BudgetTarget,
  defineKernel,
  hostArray,
  type KvBatch,
  type Tensor,
  targetTokens,
} from "@kvcache/core";
import { batchPositions } from "../layer-chunks/batch-positions.ts";
import { countProtected } from "../uniform-counts/uniform-counts.ts";

/** What one row holds of a chunk of positions. */
interface ChunkShare {
  /** Slots, in slot order. */
  readonly slots: readonly number[];
  readonly numProtected: number;
  /** Positions that the chunk spans, evicted ones included. */
  readonly span: number;
}

/** Tokens a chunk keeps at a fraction: at least one, and what is protected in it. */
const shareAt = ({ slots, numProtected, span }: ChunkShare, fraction: number): number =>
  Math.min(slots.length, Math.max(1, Math.trunc(span * fraction), numProtected));

function chunkShares(
  positions: Int32Array,
  scores: Float32Array,
  nextPosition: number,
  chunk: number,
): ChunkShare[] {
  const slots = Array.from({ length: Math.ceil(nextPosition / chunk) }, () => [] as number[]);
  positions.forEach((position, slot) => {
    slots[Math.floor(position / chunk)]!.push(slot);
  });
  return slots.map((own, i) => ({
    slots: own,
    numProtected: own.filter((slot) => scores[slot] === Number.POSITIVE_INFINITY).length,
    span: Math.min(chunk, nextPosition - i * chunk),
  }));
}

export interface ShareCountsParams {
  readonly batch: KvBatch;
  readonly target: BudgetTarget;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** Positions of a chunk. */
  readonly chunk: number;
  /** u32 [batch.numRows]. */
  readonly counts: Tensor;
}

/**
 * Tokens per row when a ratio is kept of every chunk by itself: Σ max(1, ⌊span × ratio⌋), what is
 * protected in each chunk at least. A target in tokens or bytes is the same for every row.
 */
export const shareCounts = defineKernel<ShareCountsParams>({
  name: "share-counts",
  reference({ batch, target, scores, chunk, counts }) {
    const out = hostArray(counts, "u32");
    eachRow(batch, scores, chunk, (row, shares, scoreOf, nextPosition) => {
      const even = targetTokens(target, nextPosition, batch.layout);
      const count =
        "ratio" in target
          ? shares.reduce((sum, share) => sum + shareAt(share, target.ratio), 0)
          : Math.max(1, even, countProtected(scoreOf, 0, scoreOf.length));
      out[row] = Math.min(scoreOf.length, count);
    });
  },
});

export interface SelectSharesParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots], +∞ where protected. */
  readonly scores: Tensor;
  /** u32 [batch.numRows], each ≤ the row's length. */
  readonly counts: Tensor;
  /** u32 [numRows + 1]: prefix sum of counts. */
  readonly indptr: Tensor;
  /** u32, at least indptr[numRows] entries: receives each row's kept slots, ascending. */
  readonly indices: Tensor;
  /** Positions of a chunk. */
  readonly chunk: number;
}

/** Keeps the best tokens of every chunk of a row, the same fraction of each. */
export const selectShares = defineKernel<SelectSharesParams>({
  name: "select-shares",
  reference({ batch, scores, counts, indptr, indices, chunk }) {
    const countOf = hostArray(counts, "u32");
    const keptIndptr = hostArray(indptr, "u32");
    const out = hostArray(indices, "u32");
    eachRow(batch, scores, chunk, (row, shares, scoreOf) => {
      const byScore = (a: number, b: number) =>
        scoreOf[a] === scoreOf[b] ? a - b : scoreOf[a]! > scoreOf[b]! ? -1 : 1;
      const sorted = shares.map(({ slots }) => [...slots].sort(byScore));
      const parts = partsOf(shares, sorted, scoreOf, countOf[row]!);
      const kept = sorted.flatMap((slots, i) => slots.slice(0, parts[i]!));
      out.set(Uint32Array.from(kept).sort(), keptIndptr[row]!);
    });
  },
});

/**
 * Splits a row's count over its chunks. Shares never fall as the fraction grows, so all fractions
 * that give this count give the same split. Where none does, chunks have the shares of the largest
 * that gives less, and those whose next token is best those of the next. Below the smallest fraction
 * chunks keep their protected tokens only.
 */
function partsOf(
  shares: readonly ChunkShare[],
  sorted: readonly (readonly number[])[],
  scoreOf: Float32Array,
  count: number,
): number[] {
  const [parts, limits] = neighbours(shares, count);
  for (let left = count - total(parts); left > 0; left--) {
    let next = -1;
    let most = Number.NEGATIVE_INFINITY;
    parts.forEach((part, i) => {
      const slot = sorted[i]![part];
      if (part === limits[i] || (next >= 0 && scoreOf[slot!]! <= most)) return;
      next = i;
      most = scoreOf[slot!]!;
    });
    parts[next]!++;
  }
  return parts;
}

const total = (parts: readonly number[]) => parts.reduce((sum, part) => sum + part, 0);

/** The splits next to a count: one that gives as much or less, and one that gives as much or more. */
function neighbours(shares: readonly ChunkShare[], count: number): [number[], number[]] {
  const at = (fraction: number) => shares.map((share) => shareAt(share, fraction));
  const protectedOnly = shares.map(({ numProtected }) => numProtected);
  if (count <= total(protectedOnly)) return [shares.map(() => 0), protectedOnly];
  if (count <= total(at(0))) return [protectedOnly, at(0)];
  let [low, high] = [0, 1];
  // Doubles between 0 and 1 are told apart, as far as the shares of any chunk are.
  for (let i = 0; i < 52; i++) {
    const middle = (low + high) / 2;
    if (total(at(middle)) <= count) low = middle;
    else high = middle;
  }
  return total(at(1)) <= count ? [at(1), at(1)] : [at(low), at(high)];
}

function eachRow(
  batch: KvBatch,
  scores: Tensor,
  chunk: number,
  visit: (
    row: number,
    shares: readonly ChunkShare[],
    scoreOf: Float32Array,
    nextPosition: number,
  ) => void,
): void {
  const indptr = hostArray(batch.rowIndptr, "u32");
  const all = hostArray(scores, "f32");
  const positions = batchPositions(batch);
  const rowsPerSequence = batch.layers.length * batch.shape.numKvHeads;
  for (let row = 0; row < batch.numRows; row++) {
    const own = [indptr[row]!, indptr[row + 1]!] as const;
    const scoreOf = all.subarray(...own);
    const nextPosition = batch.nextPositions[Math.floor(row / rowsPerSequence)]!;
    const shares = chunkShares(positions.subarray(...own), scoreOf, nextPosition, chunk);
    visit(row, shares, scoreOf, nextPosition);
  }
}
