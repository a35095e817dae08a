import {
  type KvShape,
  type ModelView,
  type Observation,
  type RopeParameters,
  ropeTable,
  type SignalKind,
} from "@kvcache/core";
import { createObservation, type ObservedTokens } from "@kvcache/engine";
import { rope } from "@kvcache/kernels";
import { randomFloats, randomNumbers } from "./random.ts";
import { hiddenSizeOf, type TokenVectors } from "./random-tokens.ts";

/** A model that random tokens could come from: plain RoPE over whole heads, random W_O. */
export function randomModelView(shape: KvShape, seed: number): ModelView {
  const { numQueryHeads, headDim } = shape;
  const hiddenSize = hiddenSizeOf(shape);
  const parameters = {
    theta: 10_000,
    dim: headDim - (headDim % 2),
    maxPositions: 4096,
    scaling: { type: "default" },
  } as const;
  const known = new Map<number, Float32Array>();
  return Object.freeze({
    hiddenSize,
    rope: () => parameters,
    outputWeight(layer: number) {
      const made =
        known.get(layer) ??
        randomFloats(randomNumbers(seed + 611_953 * layer), hiddenSize * numQueryHeads * headDim);
      known.set(layer, made);
      return made;
    },
  });
}

export interface RandomPass extends ObservedTokens {
  /** What each token has in a layer. */
  readonly vectors: (layer: number) => readonly TokenVectors[];
  /** Attention outputs per layer, f32 [count, numQueryHeads × headDim]. */
  readonly outputs: readonly Float32Array[];
}

/** Shows a pass over random tokens as a forward pass of `model` would. */
export function randomObservation(
  shape: KvShape,
  { start, tokenIds, vectors, outputs }: RandomPass,
  model: ModelView,
  signals: ReadonlySet<SignalKind>,
): Observation {
  return createObservation({ start, tokenIds }, signals, (part, layer) => {
    const tokens = vectors(layer);
    switch (part) {
      case "queries":
        return joined(tokens.map(({ query }) => query));
      case "queriesPreRope":
        return unrotated(
          joined(tokens.map(({ query }) => query)),
          { start, numTokens: tokens.length, numHeads: shape.numQueryHeads },
          model.rope(layer)!,
        );
      case "hidden":
        return joined(tokens.map(({ hidden }) => hidden));
      case "residual":
        return joined(tokens.map(({ residual }) => residual));
      case "headOutputs":
        return outputs[layer]!;
      case "attentionOutput":
        return projected(outputs[layer]!, model.outputWeight(layer), model.hiddenSize);
    }
  });
}

/** One vector after the other: [parts, width]. */
export function joined(parts: readonly Float32Array[]): Float32Array {
  const width = parts[0]?.length ?? 0;
  const out = new Float32Array(parts.length * width);
  parts.forEach((part, i) => {
    out.set(part, i * width);
  });
  return out;
}

/** Queries at positions `start` … before their rotation: the same rotation backwards. */
function unrotated(
  queries: Float32Array,
  { start, numTokens, numHeads }: { start: number; numTokens: number; numHeads: number },
  parameters: RopeParameters,
): Float32Array {
  const positions = Int32Array.from({ length: numTokens }, (_, i) => start + i);
  const cos = new Float32Array((numTokens * parameters.dim) / 2);
  const sin = new Float32Array(cos.length);
  ropeTable(parameters, positions, positions, cos, sin);
  const out = new Float32Array(queries.length);
  const backwards = sin.map((value) => -value);
  rope.reference({ input: queries, out, cos, sin: backwards, numTokens, numHeads });
  return out;
}

/** headOutputs [count, inputs] through W_O [hiddenSize, inputs]: what attention adds. */
function projected(
  headOutputs: Float32Array,
  weight: Float32Array,
  hiddenSize: number,
): Float32Array {
  const inputs = weight.length / hiddenSize;
  const count = headOutputs.length / inputs;
  return Float32Array.from({ length: count * hiddenSize }, (_, i) => {
    const token = Math.floor(i / hiddenSize) * inputs;
    const row = (i % hiddenSize) * inputs;
    let total = 0;
    for (let c = 0; c < inputs; c++) total += headOutputs[token + c]! * weight[row + c]!;
    return total;
  });
}
