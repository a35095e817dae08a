import { type DecoderGraph, KvCacheError, type WeightDtype, type WeightRef } from "@kvcache/core";
import { show } from "../files/fields.ts";
import { type SafetensorsWeights, weightDtype } from "./safetensors.ts";

/** Bytes of each tensor that are searched for NaN and infinities: norms whole, matrices in part. */
const SAMPLED_BYTES = 65_536;

/**
 * Checks that every tensor the graph reads is stored with the right shape, and that the part of it
 * that is cheap to look at is finite. Throws `invalid-model` naming tensor, file, and what was
 * expected and found.
 */
export function checkWeights(graph: DecoderGraph, weights: SafetensorsWeights): void {
  for (const [name, expected] of expectedShapes(graph)) {
    const entry = weights.entries.get(name);
    if (entry === undefined) {
      const files = [...new Set([...weights.entries.values()].map(({ file }) => file))];
      throw new KvCacheError(
        "invalid-model",
        `Tensor ${name} ${show(expected)} is missing in ${show(files)}.`,
        { value: name, remedy: "Check the folder's config.json, or fetch its weights again." },
      );
    }
    const { shape, file } = entry;
    if (shape.length !== expected.length || shape.some((size, i) => size !== expected[i]))
      throw new KvCacheError(
        "invalid-model",
        `Tensor ${name} in ${file} has shape ${show(shape)}; config.json asks for ${show(expected)}.`,
        { value: shape },
      );
    const found = firstNonFinite(weights.sample(name, SAMPLED_BYTES), weightDtype(entry));
    if (found !== undefined)
      throw new KvCacheError(
        "invalid-model",
        `Tensor ${name} in ${file} is not finite: element ${found} is NaN or Inf.`,
        { value: name, remedy: "The checkpoint is damaged; fetch or convert it again." },
      );
  }
}

/** Stored shape of each tensor that a graph reads. Slices of one tensor must fill it. */
export function expectedShapes(graph: DecoderGraph): Map<string, readonly number[]> {
  const shapes = new Map<string, readonly number[]>();
  const expect = ({ name, rows }: WeightRef, numRows: number, ...rest: readonly number[]) => {
    const known = shapes.get(name)?.[0] ?? 0;
    shapes.set(name, [Math.max(known, rows?.[1] ?? numRows), ...rest]);
  };
  const { shape, hiddenSize, vocabSize } = graph;
  // A norm whose result is rotated or attended over is one over single heads.
  const perHead = new Set<string>();
  for (const node of graph.nodes) {
    if (node.op === "rope") perHead.add(node.input);
    if (node.op === "pagedAttention") perHead.add(node.query).add(node.key);
  }
  for (const node of graph.nodes) {
    if (node.op === "embed") expect(node.weight, vocabSize, hiddenSize);
    else if (node.op === "rmsNorm")
      expect(node.weight, perHead.has(node.out) ? shape.headDim : hiddenSize);
    else if (node.op === "linear") {
      expect(node.weight, node.outFeatures, node.inFeatures);
      if (node.bias) expect(node.bias, node.outFeatures);
    }
  }
  return shapes;
}

/** All exponent bits set: NaN or infinity. */
const exponents: Record<WeightDtype, readonly [bytes: number, mask: number]> = {
  f32: [4, 0x7f800000],
  f16: [2, 0x7c00],
  bf16: [2, 0x7f80],
};

function firstNonFinite(data: Uint8Array, dtype: WeightDtype): number | undefined {
  const [bytes, mask] = exponents[dtype];
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let i = 0; i + bytes <= data.length; i += bytes) {
    const bits = bytes === 4 ? view.getUint32(i, true) : view.getUint16(i, true);
    if ((bits & mask) === mask) return i / bytes;
  }
  return undefined;
}
