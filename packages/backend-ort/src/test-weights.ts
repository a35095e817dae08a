import { floatToHalf, halfToFloat, type WeightFormat, type WeightTensor } from "@kvcache/core";
import type { TestDecoder } from "./test-decoder.ts";

/**
 * The decoder with its weights rounded to what a format stores, as f32: embeddings (and for f16 all
 * matrices) to halves, the matrices of products to integers by blocks of 32 columns.
 */
export function roundedWeights({ graph, weights }: TestDecoder, format: WeightFormat): TestDecoder {
  const rounded = new Map<string, WeightTensor>();
  const put = (name: string, shape: readonly number[], values: Float32Array) =>
    rounded.set(name, { dtype: "f32", shape, data: new Uint8Array(values.buffer) });
  const valuesOf = (name: string) => new Float32Array(weights.get(name).data.slice().buffer);
  const halves = (values: Float32Array) => values.map((value) => halfToFloat(floatToHalf(value)));

  const nodes = graph.nodes.map((node) => {
    if (node.op === "embed") {
      const name = node.weight.name;
      put(name, weights.get(name).shape, halves(valuesOf(name)));
    }
    if (node.op !== "linear") return node;
    const name = `${node.weight.name} of a product`;
    const values = valuesOf(node.weight.name);
    const { shape } = weights.get(node.weight.name);
    put(name, shape, format === "f16" ? halves(values) : integers(values, node.inFeatures, format));
    return { ...node, weight: { name } };
  });
  return {
    graph: { ...graph, nodes },
    weights: {
      has: (name) => rounded.has(name) || weights.has(name),
      get: (name) => rounded.get(name) ?? weights.get(name),
    },
  };
}

/** Rounds blocks of 32 columns to a grid over their range, of which 0 is a point. */
function integers(values: Float32Array, columns: number, format: WeightFormat): Float32Array {
  const levels = format === "int4" ? 15 : 255;
  const out = new Float32Array(values.length);
  for (let row = 0; row < values.length; row += columns)
    for (let first = 0; first < columns; first += 32) {
      const block = values.subarray(row + first, row + Math.min(columns, first + 32));
      const low = Math.min(0, ...block);
      const step = (Math.max(0, ...block) - low) / levels;
      const zero = Math.round(-low / step);
      const onGrid = (value: number) =>
        step * (Math.min(levels, Math.max(0, Math.round(value / step) + zero)) - zero);
      out.set(block.map(onGrid), row + first);
    }
  return out;
}
