/** One layer of a sequence: its slots over all heads, one after another. */
export interface LayerScores {
  readonly positions: Int32Array;
  /** +∞ where protected. */
  readonly scores: Float32Array;
  readonly numHeads: number;
  readonly nextPosition: number;
}

/** Positions [start, end) of a layer that are kept or evicted together. */
export interface Chunk {
  readonly start: number;
  readonly end: number;
  /** Mean of its tokens' scores. */
  readonly score: number;
  /** How evenly the score is spread over its tokens, 0 … 1; 0 for a single token. */
  readonly entropy: number;
}

export interface LayerChunks {
  /** Score of each position, summed over the heads; NaN where no head holds it. */
  readonly tokens: Float64Array;
  /** Chunks that hold tokens, by falling score; the earlier first where equal. */
  readonly chunks: readonly Chunk[];
}

/**
 * Cuts a layer into chunks of `size` positions, the last may be shorter, and ranks them. A protected
 * token counts one more than the layer's best other score; a token that some heads have lost counts
 * as if they scored it like the rest.
 */
export function layerChunks(layer: LayerScores, size: number): LayerChunks {
  const tokens = tokenScores(layer);
  const chunks: Chunk[] = [];
  for (let start = 0; start < layer.nextPosition; start += size) {
    const end = Math.min(start + size, layer.nextPosition);
    const held = tokens.subarray(start, end).filter((score) => !Number.isNaN(score));
    if (held.length > 0)
      chunks.push({ start, end, score: mean(held), entropy: normalizedEntropy(held) });
  }
  chunks.sort((a, b) => b.score - a.score || a.start - b.start);
  return { tokens, chunks };
}

function tokenScores({ positions, scores, numHeads, nextPosition }: LayerScores): Float64Array {
  const best = scores.reduce(
    (most, score) => (score < Number.POSITIVE_INFINITY ? Math.max(most, score) : most),
    Number.NEGATIVE_INFINITY,
  );
  const protectedScore = Number.isFinite(best) ? best + 1 : 1;
  const sums = new Float64Array(nextPosition);
  const holders = new Uint32Array(nextPosition);
  scores.forEach((score, slot) => {
    const position = positions[slot]!;
    sums[position]! += score === Number.POSITIVE_INFINITY ? protectedScore : score;
    holders[position]!++;
  });
  return sums.map((sum, position) => (sum * numHeads) / holders[position]!);
}

const mean = (values: Float64Array) =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

/** Keeps logarithms and quotients finite where a chunk's scores are all 0. */
const epsilon = 1e-8;

/** Entropy of scores as shares of their sum, over the logarithm of their number. */
function normalizedEntropy(scores: Float64Array): number {
  if (scores.length < 2) return 0;
  const lowest = Math.min(0, ...scores);
  const shifted = scores.map((score) => score - lowest);
  const total = shifted.reduce((sum, score) => sum + score, 0) + epsilon;
  const entropy = shifted.reduce((sum, score) => {
    const share = score / total;
    return sum - share * Math.log(share + epsilon);
  }, 0);
  return Math.min(1, Math.max(0, entropy / Math.log(scores.length)));
}
