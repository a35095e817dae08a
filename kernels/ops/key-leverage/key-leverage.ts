import {
  defineKernel,
  hostArray,
  hostTensor,
  type KvBatch,
  type Protect,
  type Tensor,
} from "@kvcache/core";
import { type BatchRow, batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { choleskyInPlace, solveLower } from "../../src/cholesky.ts";
import { dotRows } from "../../src/row-math.ts";
import { mappedSquares, productsOf } from "../../src/row-products.ts";
import { gatherPositions } from "../../src/row-view.ts";
import { standardize } from "../../src/standardize.ts";
import { rotationTables, unrotation } from "../../src/unrotation.ts";

export interface KeyLeverageParams {
  readonly batch: KvBatch;
  /** f32 [batch.totalSlots]. */
  readonly out: Tensor;
  /** Columns of the sketches. */
  readonly sketch: number;
  /** Sketch of a row, f32 [headDim, sketch]: keys are multiplied by it. */
  readonly sketchOf: (layer: number, head: number) => Float32Array;
  /** Added to the diagonal of XᵀX. */
  readonly ridge: number;
  /** Tokens at both ends that take no part and score +∞. */
  readonly ends: Protect;
}

/**
 * Leverage of every key among its row's keys: x (XᵀX + ridge)⁻¹ xᵀ, where X [tokens, sketch] are the
 * keys before RoPE, centred over the tokens and multiplied by the row's sketch. Standardised over
 * all rows of a layer. X is never formed: XᵀX comes from the keys' covariance.
 */
export const keyLeverage = defineKernel<KeyLeverageParams>({
  name: "key-leverage",
  reference({ batch, out, sketch, sketchOf, ridge, ends }) {
    const scores = hostArray(out, "f32");
    const { headDim, numKvHeads } = batch.shape;
    const beforeRope = unrotation(batch);
    forEachRow(batch, (row) => {
      const inside = tokensInside(batch, row, ends);
      const keys = centred(beforeRope(row), inside, headDim);
      const whitened = whitening(keys, inside.length, headDim, {
        sketch,
        matrix: sketchOf(row.layer, row.head),
        ridge,
      });
      const own = scores.subarray(row.begin, row.end).fill(Number.POSITIVE_INFINITY);
      mappedSquares(whitened, sketch, keys, headDim).forEach((square, j) => {
        own[inside[j]!] = square;
      });
      if (row.head === numKvHeads - 1)
        standardize(scores.subarray(layerBegin(batch, row), row.end));
    });
  },
  native({ batch, out, sketch, sketchOf, ridge, ends }) {
    const { cos, sin, begins, halves, scales } = rotationTables(batch);
    const { headDim, numKvHeads } = batch.shape;
    const sketches = new Float32Array(batch.layers.length * numKvHeads * headDim * sketch);
    batch.layers.forEach((layer, i) => {
      for (let head = 0; head < numKvHeads; head++)
        sketches.set(sketchOf(layer, head), (i * numKvHeads + head) * headDim * sketch);
    });
    return {
      cache: hostOf(batch),
      inputs: [
        ...batchInputs(batch),
        hostTensor(Int32Array.from(batch.nextPositions)),
        ...[begins, halves, scales, cos, sin, sketches].map(hostTensor),
      ],
      outputs: [out],
      integers: [
        out.length,
        batch.sequences.length,
        batch.layers.length,
        sketch,
        ends.sinks,
        ends.recent,
      ],
      floats: [ridge],
    };
  },
});

/** First slot of the layer that a row belongs to. */
const layerBegin = (batch: KvBatch, { row, head }: BatchRow): number =>
  hostArray(batch.rowIndptr, "u32")[row - head]!;

/** Slots of a row's tokens that lie at neither end. */
export function tokensInside(batch: KvBatch, row: BatchRow, { sinks, recent }: Protect) {
  const last = batch.nextPositions[row.sequenceIndex]! - recent;
  const positions = gatherPositions(row.view);
  const inside: number[] = [];
  positions.forEach((position, slot) => {
    if (position >= sinks && position < last) inside.push(slot);
  });
  return Uint32Array.from(inside);
}

/** The chosen rows minus their mean: [slots.length, width]. */
function centred(rows: Float32Array, slots: Uint32Array, width: number): Float64Array {
  const mean = new Float64Array(width);
  for (const slot of slots)
    for (let c = 0; c < width; c++) mean[c]! += rows[slot * width + c]! / slots.length;
  const out = new Float64Array(slots.length * width);
  slots.forEach((slot, j) => {
    for (let c = 0; c < width; c++) out[j * width + c] = rows[slot * width + c]! - mean[c]!;
  });
  return out;
}

interface Sketch {
  readonly sketch: number;
  /** [width, sketch]. */
  readonly matrix: Float32Array;
  readonly ridge: number;
}

/**
 * M [sketch, width] such that the leverage of a centred key k is ‖M k‖²: M = L⁻¹ Φᵀ with
 * L Lᵀ = Φᵀ KᵀK Φ + ridge.
 */
function whitening(
  keys: Float64Array,
  count: number,
  width: number,
  { sketch, matrix, ridge }: Sketch,
): Float64Array {
  const covariance = productsOf(keys, count, width);
  const transposed = new Float64Array(sketch * width);
  for (let c = 0; c < width; c++)
    for (let s = 0; s < sketch; s++) transposed[s * width + c] = matrix[c * sketch + s]!;
  const columns = { data: transposed, stride: width };
  const half = { data: new Float64Array(sketch * width), stride: width };
  dotRows(columns, sketch, { data: covariance, stride: width }, width, width, half);
  const gram = { data: new Float64Array(sketch * sketch), stride: sketch };
  dotRows(half, sketch, columns, sketch, width, gram);
  for (let s = 0; s < sketch; s++) gram.data[s * sketch + s]! += ridge;
  choleskyInPlace(gram.data, sketch);
  const column = new Float64Array(sketch);
  for (let c = 0; c < width; c++) {
    for (let s = 0; s < sketch; s++) column[s] = transposed[s * width + c]!;
    solveLower(gram.data, sketch, column);
    for (let s = 0; s < sketch; s++) transposed[s * width + c] = column[s]!;
  }
  return transposed;
}
