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
import type { FileTensor } from "./tensor-file.ts";
import { readTorchFile } from "./torch-file.ts";

const names = [
  "gateQueryWeight",
  "gateQueryBias",
  "gateKeyWeight",
  "gateQueryNorm",
  "gateKeyNorm",
  "gateBase",
  "gateBias",
] as const;
type GateTensor = (typeof names)[number];

/** Retention gates of all layers of a model. */
export interface RetentionGates extends MethodFileIdentity {
  readonly numLayers: number;
  readonly numKvHeads: number;
  readonly groupSize: number;
  readonly hiddenSize: number;
  /** Numbers of a gate's query and key. */
  readonly width: number;
  /** Each [numLayers, …]; see {@link readRetentionGates}. */
  readonly tensors: Readonly<Record<GateTensor, Float32Array>>;
}

type Tensors = ReadonlyMap<string, FileTensor>;

/**
 * Reads a file of method fast-kv-zip, with w the gate's width, L layers, H KV heads of G query heads
 * each: `gateQueryWeight` [L, H·G·w, hidden], `gateQueryBias` [L, H·G·w], `gateKeyWeight`
 * [L, H·w, hidden], `gateQueryNorm` and `gateKeyNorm` [L, w], `gateBase` [L, H, base keys, w],
 * `gateBias` [L, H, G]. Throws `invalid-file`.
 */
export function readRetentionGates(bytes: Uint8Array): RetentionGates {
  const { model, tensors } = readMethodFile(bytes, "fast-kv-zip");
  return retentionGatesOf(tensors, model);
}

/** Gates from their tensors. Throws `invalid-file` when they do not fit each other. */
export function retentionGatesOf(tensors: Tensors, model = ""): RetentionGates {
  const bias = tensorOf(tensors, "gateBias", 3);
  const norm = tensorOf(tensors, "gateQueryNorm", 2);
  const query = tensorOf(tensors, "gateQueryWeight", 3);
  const base = tensorOf(tensors, "gateBase", 4);
  const [numLayers, numKvHeads, groupSize] = bias.shape as [number, number, number];
  const width = norm.shape[1]!;
  const hiddenSize = query.shape[2]!;
  const heads = numKvHeads * groupSize;
  const wanted: Readonly<Record<GateTensor, readonly number[]>> = {
    gateQueryWeight: [numLayers, heads * width, hiddenSize],
    gateQueryBias: [numLayers, heads * width],
    gateKeyWeight: [numLayers, numKvHeads * width, hiddenSize],
    gateQueryNorm: [numLayers, width],
    gateKeyNorm: [numLayers, width],
    gateBase: [numLayers, numKvHeads, base.shape[2]!, width],
    gateBias: [numLayers, numKvHeads, groupSize],
  };
  const found = names.map((name) => {
    const tensor = tensorOf(tensors, name, wanted[name].length);
    checkTensorShape(name, tensor, wanted[name]);
    return [name, tensor.data] as const;
  });
  return Object.freeze({
    numLayers,
    numKvHeads,
    groupSize,
    hiddenSize,
    width,
    tensors: Object.fromEntries(found) as Record<GateTensor, Float32Array>,
    model,
    fingerprint: tensorFingerprint(...found.map(([, data]) => data)),
  });
}

/** What the authors call the tensors of a layer's gate, and how many dimensions of ours they have. */
const published: Readonly<Record<GateTensor, string>> = {
  gateQueryWeight: "q_proj.weight",
  gateQueryBias: "q_proj.bias",
  gateKeyWeight: "k_proj.weight",
  gateQueryNorm: "q_norm.weight",
  gateKeyNorm: "k_norm.weight",
  gateBase: "k_base",
  gateBias: "b",
};

/** Gates from the tensors of each layer as their authors publish them. Throws `invalid-file`. */
export function convertRetentionGates(layers: readonly Tensors[], model = ""): RetentionGates {
  if (layers.length === 0)
    throw new KvCacheError("invalid-file", "There is no gate of any layer.", { value: layers });
  const tensors = new Map<string, FileTensor>();
  for (const name of names) {
    const parts = layers.map((layer) => {
      const part = layer.get(published[name]);
      if (part) return part;
      throw new KvCacheError("invalid-file", `A layer's gate lacks ${published[name]}.`, {
        value: [...layer.keys()],
      });
    });
    const { shape, data: first } = parts[0]!;
    const data = new Float32Array(parts.length * first.length);
    parts.forEach((part, i) => {
      data.set(part.data, i * first.length);
    });
    // Base keys and biases have a dimension of size 1 behind the heads.
    const own = name === "gateBase" || name === "gateBias" ? [shape[0]!, ...shape.slice(2)] : shape;
    tensors.set(name, { shape: [parts.length, ...own], data });
  }
  return retentionGatesOf(tensors, model);
}

/** Gates from the bytes of the file that their authors publish. Throws `invalid-file`. */
export function convertRetentionGatesFile(bytes: Uint8Array, model = ""): RetentionGates {
  const file = readTorchFile(bytes);
  const layers = file instanceof Map ? file.get("module") : undefined;
  if (!Array.isArray(layers) || !layers.every((layer) => layer instanceof Map))
    throw new KvCacheError("invalid-file", "This PyTorch file holds no gates of layers.", {
      remedy: "Give a file of the repository Jang-Hyun/Fast-KVzip.",
    });
  return convertRetentionGates(layers, model);
}

export function writeRetentionGates(
  gates: RetentionGates,
  about: Readonly<Record<string, string>> = {},
): Uint8Array {
  const { numLayers, numKvHeads, groupSize, hiddenSize, width } = gates;
  const heads = numKvHeads * groupSize;
  const shapes: Readonly<Record<GateTensor, readonly number[]>> = {
    gateQueryWeight: [heads * width, hiddenSize],
    gateQueryBias: [heads * width],
    gateKeyWeight: [numKvHeads * width, hiddenSize],
    gateQueryNorm: [width],
    gateKeyNorm: [width],
    gateBase: [numKvHeads, gates.tensors.gateBase.length / (numLayers * numKvHeads * width), width],
    gateBias: [numKvHeads, groupSize],
  };
  const tensors = new Map(
    names.map((name) => [name, { shape: [numLayers, ...shapes[name]], data: gates.tensors[name] }]),
  );
  return writeMethodFile({ method: "fast-kv-zip", model: gates.model, about, tensors });
}

/** Throws `invalid-plan` where the gates belong to another model, by shape or fingerprint. */
export function checkRetentionGates(
  gates: RetentionGates,
  model: KvShape,
  fingerprint?: string,
): void {
  checkModelShape(
    "retention gates",
    [gates.numLayers, gates.numKvHeads, gates.numKvHeads * gates.groupSize],
    [model.numLayers, model.numKvHeads, model.numQueryHeads],
  );
  checkModelFingerprint("retention gates", gates, fingerprint);
}
