import { KvCacheError, type KvShape } from "@kvcache/core";
import {
  checkModelFingerprint,
  checkModelShape,
  checkTensorShape,
  type MethodFileIdentity,
  readMethodFile,
  tensorFingerprint,
  tensorOf,
  writeMethodFile,
} from "./method-file.ts";
import { type FileTensor, readTensorFile } from "./tensor-file.ts";

/** What maps a layer's block input to log scores of its KV heads. */
export interface SurrogateLayer {
  /** f32 [outputs of the first map, hiddenSize]. */
  readonly weight1: Float32Array;
  readonly bias1: Float32Array;
  /** Behind a GELU, f32 [numKvHeads, outputs of the first map]; absent in a linear surrogate. */
  readonly weight2?: Float32Array;
  readonly bias2?: Float32Array;
}

/** Surrogates of all layers of a model. */
export interface KvZapSurrogate extends MethodFileIdentity {
  /** [numLayers, numKvHeads, hiddenSize]. */
  readonly shape: readonly [number, number, number];
  readonly layers: readonly SurrogateLayer[];
}

/** Throws `invalid-file` unless every layer maps hiddenSize numbers to one for each KV head. */
export function kvZapSurrogateOf(
  layers: readonly SurrogateLayer[],
  hiddenSize: number,
  model = "",
): KvZapSurrogate {
  const numKvHeads = (layers[0]?.bias2 ?? layers[0]?.bias1)?.length ?? 0;
  layers.forEach(({ weight1, bias1, weight2, bias2 }, layer) => {
    const width = bias1.length;
    const fits =
      weight1.length === width * hiddenSize &&
      (weight2 === undefined
        ? bias2 === undefined && width === numKvHeads
        : bias2?.length === numKvHeads && weight2.length === width * numKvHeads);
    if (!fits)
      throw new KvCacheError("invalid-file", `The surrogate of layer ${layer} has odd sizes.`, {
        value: [weight1, bias1, weight2, bias2].map((array) => array?.length),
      });
  });
  if (numKvHeads === 0)
    throw new KvCacheError("invalid-file", "There is no surrogate of any layer.", {
      value: layers,
    });
  const arrays = layers.flatMap(({ weight1, bias1, weight2, bias2 }) =>
    weight2 && bias2 ? [weight1, bias1, weight2, bias2] : [weight1, bias1],
  );
  return Object.freeze({
    shape: [layers.length, numKvHeads, hiddenSize] as const,
    layers,
    model,
    fingerprint: tensorFingerprint(...arrays),
  });
}

/**
 * Reads a file of method kv-zap: `weight1` [layers, width, hidden], `bias1` [layers, width] and, for
 * an MLP, `weight2` [layers, KV heads, width], `bias2` [layers, KV heads]. Throws `invalid-file`.
 */
export function readKvZap(bytes: Uint8Array): KvZapSurrogate {
  const { model, tensors } = readMethodFile(bytes, "kv-zap");
  const first = tensorOf(tensors, "weight1", 3);
  const [layers, width, hiddenSize] = first.shape as [number, number, number];
  const bias = tensorOf(tensors, "bias1", 2);
  checkTensorShape("bias1", bias, [layers, width]);
  const second = tensors.has("weight2") ? tensorOf(tensors, "weight2", 3) : undefined;
  const secondBias = second && tensorOf(tensors, "bias2", 2);
  if (second && secondBias)
    checkTensorShape("weight2", second, [layers, secondBias.shape[1]!, width]);
  const part = ({ data }: FileTensor, layer: number) =>
    data.subarray((layer * data.length) / layers, ((layer + 1) * data.length) / layers);
  return kvZapSurrogateOf(
    Array.from({ length: layers }, (_, layer) => ({
      weight1: part(first, layer),
      bias1: part(bias, layer),
      ...(second && { weight2: part(second, layer), bias2: part(secondBias!, layer) }),
    })),
    hiddenSize,
    model,
  );
}

/**
 * Reads surrogates as their authors publish them: a safetensors file of `layers.0.weight` … (linear)
 * or `layers.0.0.weight`, `layers.0.2.weight` … (MLP). Throws `invalid-file`.
 */
export function convertKvZap(bytes: Uint8Array, model = ""): KvZapSurrogate {
  const { tensors } = readTensorFile(bytes);
  const mlp = tensors.has("layers.0.0.weight");
  const layers: SurrogateLayer[] = [];
  let hiddenSize = 0;
  for (let layer = 0; tensors.has(`layers.${layer}.${mlp ? "0.weight" : "weight"}`); layer++) {
    const own = (name: string, rank: number) => tensorOf(tensors, `layers.${layer}.${name}`, rank);
    const first = own(mlp ? "0.weight" : "weight", 2);
    hiddenSize = first.shape[1]!;
    layers.push({
      weight1: first.data,
      bias1: own(mlp ? "0.bias" : "bias", 1).data,
      ...(mlp && { weight2: own("2.weight", 2).data, bias2: own("2.bias", 1).data }),
    });
  }
  return kvZapSurrogateOf(layers, hiddenSize, model);
}

export function writeKvZap(
  { shape: [numLayers, numKvHeads, hiddenSize], layers, model }: KvZapSurrogate,
  about: Readonly<Record<string, string>> = {},
  dtype: "F32" | "F16" = "F32",
): Uint8Array {
  const width = layers[0]!.bias1.length;
  const joined = (parts: readonly (Float32Array | undefined)[], ...shape: number[]) => {
    const size = parts[0]!.length;
    const data = new Float32Array(parts.length * size);
    parts.forEach((part, i) => {
      data.set(part!, i * size);
    });
    return { shape: [numLayers, ...shape], data };
  };
  const tensors = new Map<string, FileTensor>([
    [
      "weight1",
      joined(
        layers.map((layer) => layer.weight1),
        width,
        hiddenSize,
      ),
    ],
    [
      "bias1",
      joined(
        layers.map((layer) => layer.bias1),
        width,
      ),
    ],
  ]);
  if (layers[0]!.weight2) {
    tensors.set(
      "weight2",
      joined(
        layers.map((layer) => layer.weight2),
        numKvHeads,
        width,
      ),
    );
    tensors.set(
      "bias2",
      joined(
        layers.map((layer) => layer.bias2),
        numKvHeads,
      ),
    );
  }
  return writeMethodFile({ method: "kv-zap", model, about, tensors }, dtype);
}

/** Throws `invalid-plan` where the surrogate belongs to another model, by shape or fingerprint. */
export function checkKvZap(weights: KvZapSurrogate, model: KvShape, fingerprint?: string): void {
  const wanted = [model.numLayers, model.numKvHeads];
  checkModelShape("KVzap surrogates", weights.shape.slice(0, 2), wanted);
  checkModelFingerprint("KVzap surrogates", weights, fingerprint);
}
