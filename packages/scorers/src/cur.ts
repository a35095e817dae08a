import { checkOneOf, checkWholeNumber, type Scorer } from "@kvcache/core";
import { normShares, shareScores, squaredNorms } from "@kvcache/kernels";
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
  const rule = { leverage, localWindow, sinks };
  const projectedRow = ({ keys, values, positions, layer, headDim }: ScorerRow) => {
    const random = () => gaussianMatrix(seed + 7919 * layer, headDim * rank, 1 / Math.sqrt(rank));
    const matrix = projectionOf?.(layer) ?? random();
    const squares = (rows: Float32Array) => squaredNorms(projected(rows, matrix, headDim), rank);
    return shareScores(squares(keys), squares(values), positions, rule);
  };
  return Object.freeze<Scorer>({
    ...scorerFrom("cur", [], projectedRow),
    ...(!randomProjection && {
      score: (encoder, batch, out) => encoder.run(normShares, { ...rule, batch, out }),
    }),
    options: {
      sinks,
      leverage,
      localWindow,
      randomProjection,
      seed: projectionOf ? "given" : seed,
    },
  });
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
