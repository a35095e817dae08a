import { defineKernel, hostArray, type KvBatch, type Tensor } from "@kvcache/core";
import { batchPositions } from "./batch-positions.ts";
import { type Chunk, type LayerChunks, layerChunks } from "./layer-chunks.ts";

export interface SelectChunksParams {
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
  /** Tokens that a good but spiky chunk keeps; undefined keeps chunks whole. */
  readonly lowEntropyTokens?: number | undefined;
  /** Protected tokens come first, if they fit. */
  readonly keepProtected: boolean;
}

/**
 * Fills the counts of a layer's rows with its chunks, the best first, ranked for all heads together.
 * The chunk that no longer fits is cut to its best tokens. With `lowEntropyTokens` a chunk at or
 * above the median score and below the median entropy gives that many only; what this leaves over
 * goes to the best tokens of all. Without one whole chunk (and without the gate), rows keep their own
 * best tokens.
 */
export const selectChunks = defineKernel<SelectChunksParams>({
  name: "select-chunks",
  reference({ batch, scores, counts, indptr, indices, chunk, lowEntropyTokens, keepProtected }) {
    const rowIndptr = hostArray(batch.rowIndptr, "u32");
    const scoreOf = hostArray(scores, "f32");
    const countOf = hostArray(counts, "u32");
    const keptIndptr = hostArray(indptr, "u32");
    const out = hostArray(indices, "u32");
    const positions = batchPositions(batch);
    const numHeads = batch.shape.numKvHeads;
    for (let first = 0; first < batch.numRows; first += numHeads) {
      const nextPosition = batch.nextPositions[Math.floor(first / numHeads / batch.layers.length)]!;
      const together = lowEntropyTokens !== undefined || nextPosition >= chunk;
      const slots = [rowIndptr[first]!, rowIndptr[first + numHeads]!] as const;
      const layer = { positions: positions.subarray(...slots), scores: scoreOf.subarray(...slots) };
      const ranked = layerChunks({ ...layer, numHeads, nextPosition }, chunk);
      const limit = chunkLimit(ranked.chunks, lowEntropyTokens);
      for (let row = first; row < first + numHeads; row++) {
        const own = [rowIndptr[row]!, rowIndptr[row + 1]!] as const;
        const rowSlots = {
          positions: positions.subarray(...own),
          scores: scoreOf.subarray(...own),
        };
        const kept = together
          ? walk(rowSlots, countOf[row]!, ranked, limit, keepProtected)
          : best(Array.from(rowSlots.scores.keys()), rowSlots.scores, countOf[row]!);
        out.set(Uint32Array.from(kept).sort(), keptIndptr[row]!);
      }
    }
  },
});

/** Tokens that a chunk may keep. */
function chunkLimit(chunks: readonly Chunk[], lowEntropyTokens: number | undefined) {
  if (lowEntropyTokens === undefined) return () => Number.POSITIVE_INFINITY;
  const score = lowerMedian(chunks.map((chunk) => chunk.score));
  const entropy = lowerMedian(chunks.map((chunk) => chunk.entropy));
  return (chunk: Chunk) =>
    chunk.score >= score && chunk.entropy < entropy ? lowEntropyTokens : Number.POSITIVE_INFINITY;
}

const lowerMedian = (values: readonly number[]) =>
  Float64Array.from(values).sort()[(values.length - 1) >> 1]!;

interface RowSlots {
  readonly positions: Int32Array;
  readonly scores: Float32Array;
}

function walk(
  { positions, scores }: RowSlots,
  count: number,
  { tokens, chunks }: LayerChunks,
  limit: (chunk: Chunk) => number,
  keepProtected: boolean,
): number[] {
  const tokenScores = Float64Array.from(positions, (position) => tokens[position]!);
  const slotAt = new Int32Array(tokens.length).fill(-1);
  positions.forEach((position, slot) => {
    slotAt[position] = slot;
  });
  const all = Array.from(positions.keys());
  const sure = all.filter((slot) => scores[slot] === Number.POSITIVE_INFINITY);
  const kept = new Set(keepProtected && sure.length <= count ? sure : []);
  const take = (slots: readonly number[], most: number) => {
    for (const slot of best(slots, tokenScores, Math.min(most, count - kept.size))) kept.add(slot);
  };
  for (const chunk of chunks) {
    if (kept.size === count) break;
    const held = Array.from(slotAt.subarray(chunk.start, chunk.end)).filter((slot) => slot >= 0);
    const open = held.filter((slot) => !kept.has(slot));
    take(open, Math.max(0, limit(chunk) - (held.length - open.length)));
  }
  if (kept.size < count)
    take(
      all.filter((slot) => !kept.has(slot)),
      count,
    );
  return [...kept];
}

/** The `count` best of some slots; the earlier of equal ones. */
const best = (slots: readonly number[], scores: ArrayLike<number>, count: number) =>
  count >= slots.length
    ? slots
    : [...slots].sort((a, b) => compare(scores[b]!, scores[a]!) || a - b).slice(0, count);

/** Like a − b, where both may be +∞. */
const compare = (a: number, b: number) => (a === b ? 0 : a < b ? -1 : 1);
