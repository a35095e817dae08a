import { hostTensor } from "@kvcache/core";
import { gelu, linearRows } from "@kvcache/kernels";
import type { KvZapSurrogate, SurrogateLayer } from "./kv-zap-file.ts";
import type { Examples } from "./mlp-training.ts";

/** What a layer's surrogate says of block inputs: f32 [count, numKvHeads]. */
export function surrogateScores(
  { weight1, bias1, weight2, bias2 }: SurrogateLayer,
  { inputs, count }: Pick<Examples, "inputs" | "count">,
): Float32Array {
  const linear = (input: Float32Array, weight: Float32Array, bias: Float32Array) => {
    const out = new Float32Array(count * bias.length);
    linearRows.reference({
      ...{ input: hostTensor(input), numRows: count, out: hostTensor(out) },
      ...{ weight: hostTensor(weight), bias: hostTensor(bias) },
    });
    return out;
  };
  const first = linear(inputs, weight1, bias1);
  if (!weight2 || !bias2) return first;
  gelu.reference({ values: hostTensor(first) });
  return linear(first, weight2, bias2);
}

/**
 * Pearson correlation between a surrogate's scores and the teacher's, for each KV head:
 * [numLayers × numKvHeads]. Examples should be others than those that it was trained on.
 */
export function surrogateCorrelations(
  { layers, shape: [, numKvHeads] }: KvZapSurrogate,
  examplesOf: (layer: number) => Examples,
): number[] {
  return layers.flatMap((own, layer) => {
    const examples = examplesOf(layer);
    const scores = surrogateScores(own, examples);
    const column = (values: Float32Array, head: number) =>
      Array.from({ length: examples.count }, (_, i) => values[i * numKvHeads + head]!);
    return Array.from({ length: numKvHeads }, (_, head) =>
      correlation(column(scores, head), column(examples.targets, head)),
    );
  });
}

function correlation(x: readonly number[], y: readonly number[]): number {
  const mean = (values: readonly number[]) => values.reduce((a, b) => a + b, 0) / values.length;
  const [meanX, meanY] = [mean(x), mean(y)];
  let [xy, xx, yy] = [0, 0, 0];
  x.forEach((value, i) => {
    const [dx, dy] = [value - meanX, y[i]! - meanY];
    xy += dx * dy;
    xx += dx * dx;
    yy += dy * dy;
  });
  return xy / (Math.sqrt(xx * yy) || 1);
}
