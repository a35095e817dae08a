import {
  defineKernel,
  type Encoder,
  groupSize,
  hostArray,
  type KvBatch,
  KvCacheError,
  type Tensor,
} from "@kvcache/core";
import { batchInputs, forEachRow, hostOf } from "../../src/batch-rows.ts";
import { dotRows } from "../../src/row-math.ts";
import { gatherValues } from "../../src/row-view.ts";
import { projectedValueNormWgsl } from "./projected-value-norm.wgsl.ts";

export interface ProjectedValueNormParams {
  readonly batch: KvBatch;
  /** Layer of the model whose rows are looked at. */
  readonly layer: number;
  /** W_O of that layer, f32 [hiddenSize, numQueryHeads × headDim]. */
  readonly weight: Tensor;
  readonly hiddenSize: number;
  /** f32 [batch.totalSlots]: rows of other layers stay as they are. */
  readonly out: Tensor;
}

/** Tokens whose projections are held at once. */
const chunk = 256;

/**
 * What a token can add to the layer's output, whatever attention it gets: ‖W_O v‖₁, W_O being the
 * columns of a query head, averaged over the query heads of the row.
 */
export const projectedValueNorm = defineKernel<ProjectedValueNormParams>({
  name: "projected-value-norm",
  reference(params) {
    const { batch, layer: wanted, hiddenSize, out } = params;
    const norms = hostArray(out, "f32");
    const { headDim } = batch.shape;
    const group = groupSize(batch.shape);
    const products = { data: new Float64Array(hiddenSize * chunk), stride: chunk };
    forEachRow(batch, ({ layer, head, begin, view }) => {
      if (layer !== wanted) return;
      const values = new Float64Array(gatherValues(view));
      const sums = new Float64Array(view.length);
      for (let member = 0; member < group; member++) {
        const columns = headColumns(params, head * group + member);
        for (let first = 0; first < view.length; first += chunk) {
          const count = Math.min(chunk, view.length - first);
          const rows = { data: values.subarray(first * headDim), stride: headDim };
          dotRows(columns, hiddenSize, rows, count, headDim, products);
          for (let channel = 0; channel < hiddenSize; channel++)
            for (let j = 0; j < count; j++)
              sums[first + j] = sums[first + j]! + Math.abs(products.data[channel * chunk + j]!);
        }
      }
      for (let j = 0; j < view.length; j++) norms[begin + j] = sums[j]! / group;
    });
  },
  native: ({ batch, layer, weight, hiddenSize, out }) => ({
    cache: hostOf(batch),
    inputs: [...batchInputs(batch), weight, out],
    outputs: [out],
    integers: [out.length, batch.sequences.length, batch.layers.length, layer, hiddenSize],
    floats: [],
  }),
  wgsl: projectedValueNormWgsl,
});

/** W_O's columns of one query head: [hiddenSize, headDim]. */
function headColumns({ batch, weight, hiddenSize }: ProjectedValueNormParams, queryHead: number) {
  const { headDim, numQueryHeads } = batch.shape;
  const source = hostArray(weight, "f32");
  const width = numQueryHeads * headDim;
  const data = new Float64Array(hiddenSize * headDim);
  for (let channel = 0; channel < hiddenSize; channel++)
    for (let c = 0; c < headDim; c++)
      data[channel * headDim + c] = source[channel * width + queryHead * headDim + c]!;
  return { data, stride: headDim };
}

/**
 * Records those norms for all layers of a batch: f32 [batch.totalSlots]. Throws `missing-signal`
 * where the model is not known.
 */
export function recordProjectedNorms(encoder: Encoder, batch: KvBatch): Tensor {
  const { model } = batch;
  if (model === undefined)
    throw new KvCacheError("missing-signal", "Nobody knows the model's output projection here.", {
      remedy: "Compress through the engine, or give the batch a model.",
    });
  const { hiddenSize } = model;
  const out = encoder.tensor("f32", batch.totalSlots);
  for (const layer of batch.layers) {
    const weight = encoder.upload(model.outputWeight(layer));
    encoder.run(projectedValueNorm, { batch, layer, weight, hiddenSize, out });
  }
  return out;
}
