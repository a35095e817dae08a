import { checkWholeNumber, type Protect, type Scorer } from "@kvcache/core";
import { keyLeverage } from "@kvcache/kernels";
import { gaussianMatrix } from "./gaussian-matrix.ts";

export interface LeverageOptions {
  /** Columns of the random sketch. Default 48. */
  readonly sketch?: number;
  /** Of the random sketches. Default 0. */
  readonly seed?: number;
  /** Added to the diagonal of the sketched keys' products. Default 0.01. */
  readonly ridge?: number;
  /** Tokens at both ends that take no part and score +∞. Default none. */
  readonly ends?: Protect;
  /** Sketches in place of random ones: f32 [headDim, sketch], scaled by 1 / √sketch. */
  readonly sketchOf?: (layer: number, head: number) => Float32Array;
}

/**
 * Leverage of each token's key before RoPE among those of its row, approximated by a Gaussian
 * sketch and standardised over the layer: outliers score high. Looks at no query. Chari and
 * Van Durme 2025, arXiv:2507.08143.
 */
export function leverage(options: LeverageOptions = {}): Scorer {
  const { sketch = 48, seed = 0, ridge = 1e-2, ends = { sinks: 0, recent: 0 } } = options;
  checkWholeNumber("sketch", sketch, 1);
  checkWholeNumber("seed", seed, 0);
  const known = new Map<string, Float32Array>();
  const randomSketch = (layer: number, head: number, headDim: number) => {
    const name = `${layer}/${head}/${headDim}`;
    const made =
      known.get(name) ??
      gaussianMatrix(seed + 7919 * layer + 104_729 * head, headDim * sketch, 1 / Math.sqrt(sketch));
    known.set(name, made);
    return made;
  };
  return Object.freeze<Scorer>({
    name: "leverage",
    options: { sketch, seed: options.sketchOf ? "given" : seed, ridge, ends },
    needs: [],
    score(encoder, batch, out) {
      const { headDim } = batch.shape;
      const sketchOf =
        options.sketchOf ?? ((layer: number, head: number) => randomSketch(layer, head, headDim));
      encoder.run(keyLeverage, { batch, out, sketch, sketchOf, ridge, ends });
    },
  });
}
