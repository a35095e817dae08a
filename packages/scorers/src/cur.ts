import { checkOneOf, checkWholeNumber, type Scorer } from "@kvcache/core";
import { positionOrder } from "@kvcache/kernels";
import { gaussianMatrix } from "./gaussian-matrix.ts";
import { type ScorerRow, scorerFrom } from "./scorer-from.ts";

export interface CurOptions {
  /** First tokens: they score +∞. Default 4. */
  readonly sinks?: number;
  /** Of what: keys, values, the mean of both, or (default) their product. */
  readonly leverage?: "product" | "average" | "key" | "value";
  /** Tokens among which squared norms are shared out; 0 = taken as they are. Default 16. */
  readonly localWindow?: number;
  /** Projects keys and values to 20 random dimensions first. Default false. */
  readonly randomProjection?: boolean;
  /** Of the random projection. Default 0. */
  readonly seed?: number;
  /** Projection of a layer in place of a random one: f32 [headDim, 20], scaled by 1 / √20. */
  readonly projectionOf?: (layer: number) => Float32Array;
}

const rank = 20;

/**
 * Squared norms of key and value, each as a share of those of the tokens nearby: a cheap stand-in
 * for their leverage scores. Looks at no query. Sengupta et al. 2025, arXiv:2509.15038. Throws
 * `invalid-argument` naming the option that is out of range.
 */
export function cur(options: CurOptions = {}): Scorer {
  const { sinks = 4, leverage = "product", localWindow = 16, seed = 0 } = options;
  const { randomProjection = false, projectionOf } = options;
  checkWholeNumber("sinks", sinks, 0);
  checkWholeNumber("localWindow", localWindow, 0);
  checkWholeNumber("seed", seed, 0);
  checkOneOf("leverage", leverage, ["product", "average", "key", "value"]);
  const deviation = 1 / Math.sqrt(rank);

  const squares = (vectors: Float32Array, { layer, headDim }: ScorerRow) => {
    if (!randomProjection) return squaredNorms(vectors, headDim);
    const random = () => gaussianMatrix(seed + 7919 * layer, headDim * rank, deviation);
    return squaredNorms(projected(vectors, projectionOf?.(layer) ?? random(), headDim), rank);
  };
  const scoreRow = (row: ScorerRow): Float64Array => {
    const order = positionOrder(row.positions);
    const shares = (vectors: Float32Array) => {
      const norms = squares(vectors, row);
      return localWindow === 0 ? norms : localShares(norms, order, localWindow);
    };
    const key = leverage === "value" ? undefined : shares(row.keys);
    const value = leverage === "key" ? undefined : shares(row.values);
    const scores = (key ?? value)!.map((share, j) => {
      if (!key || !value) return share;
      return leverage === "product" ? share * value[j]! : (share + value[j]!) / 2;
    });
    const total = scores.reduce((sum, score) => sum + score, 0);
    return scores.map((score, j) =>
      row.positions[j]! < sinks ? Number.POSITIVE_INFINITY : total > 0 ? score / total : 0,
    );
  };
  return Object.freeze<Scorer>({
    ...scorerFrom("cur", [], scoreRow),
    options: {
      sinks,
      leverage,
      localWindow,
      randomProjection,
      seed: projectionOf ? "given" : seed,
    },
  });
}

function squaredNorms(vectors: Float32Array | Float64Array, width: number): Float64Array {
  const out = new Float64Array(vectors.length / width);
  for (let j = 0, at = 0; j < out.length; j++)
    for (let c = 0; c < width; c++, at++) out[j]! += vectors[at]! * vectors[at]!;
  return out;
}

/** vectors [n, width] × matrix [width, rank]. */
function projected(vectors: Float32Array, matrix: Float32Array, width: number): Float64Array {
  const out = new Float64Array((vectors.length / width) * rank);
  for (let j = 0; j < vectors.length / width; j++)
    for (let c = 0; c < width; c++) {
      const factor = vectors[j * width + c]!;
      for (let r = 0; r < rank; r++) out[j * rank + r]! += factor * matrix[c * rank + r]!;
    }
  return out;
}

/** Each number divided by the sum of its window of consecutive tokens; 0 where that sum is 0. */
function localShares(
  values: Float64Array,
  order: Uint32Array | undefined,
  window: number,
): Float64Array {
  const out = new Float64Array(values.length);
  for (let from = 0; from < values.length; from += window) {
    const to = Math.min(values.length, from + window);
    const slot = (j: number) => (order ? order[j]! : j);
    let total = 0;
    for (let j = from; j < to; j++) total += values[slot(j)]!;
    for (let j = from; j < to; j++) out[slot(j)] = total > 0 ? values[slot(j)]! / total : 0;
  }
  return out;
}
