import type { KvShape, ModelView } from "@kvcache/core";
import { dotRows, type Matrix } from "../../src/row-math.ts";

/** ‖W_O v‖₂: size of what a query head would write into the residual stream. */
export interface OutputNorms {
  /** Norms [length] of values f32 [length, headDim]. */
  of(layer: number, queryHead: number, values: Float32Array): Float64Array;
}

/** Values whose products are held at once. */
const chunk = 256;

/**
 * Norms through the square of each head's part of W_O, headDim × headDim, which is made once: a token
 * costs headDim² instead of hiddenSize × headDim.
 */
export function outputNorms(shape: KvShape, model: ModelView): OutputNorms {
  const { headDim } = shape;
  const squares = new Map<string, Matrix>();
  const squareOf = (layer: number, queryHead: number) => {
    const name = `${layer}/${queryHead}`;
    const made = squares.get(name) ?? square(shape, model, layer, queryHead);
    squares.set(name, made);
    return made;
  };
  const products = { data: new Float64Array(headDim * chunk), stride: chunk };
  return {
    of(layer, queryHead, values) {
      const matrix = squareOf(layer, queryHead);
      const norms = new Float64Array(values.length / headDim);
      for (let first = 0; first < norms.length; first += chunk) {
        const count = Math.min(chunk, norms.length - first);
        const data = new Float64Array(values.subarray(first * headDim, (first + count) * headDim));
        dotRows(matrix, headDim, { data, stride: headDim }, count, headDim, products);
        for (let j = 0; j < count; j++) {
          let total = 0;
          for (let c = 0; c < headDim; c++)
            total += data[j * headDim + c]! * products.data[c * chunk + j]!;
          norms[first + j] = Math.sqrt(Math.max(0, total));
        }
      }
      return norms;
    },
  };
}

/** W_Oᵀ W_O of one query head: [headDim, headDim]. */
function square(
  { numQueryHeads, headDim }: KvShape,
  { hiddenSize, outputWeight }: ModelView,
  layer: number,
  queryHead: number,
): Matrix {
  const weight = outputWeight(layer);
  const data = new Float64Array(headDim * headDim);
  for (let row = 0; row < hiddenSize; row++) {
    const at = (row * numQueryHeads + queryHead) * headDim;
    for (let a = 0; a < headDim; a++)
      for (let b = 0; b < headDim; b++) data[a * headDim + b]! += weight[at + a]! * weight[at + b]!;
  }
  return { data, stride: headDim };
}
