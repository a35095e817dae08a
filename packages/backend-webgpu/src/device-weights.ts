import {
  type DecoderGraph,
  KvCacheError,
  type LoadOptions,
  type WeightFormat,
  type WeightRef,
  type WeightSource,
  type WeightTensor,
  weightFloats,
} from "@kvcache/core";
import type { QuadDtype } from "@kvcache/kernels";
import type { CommandQueue } from "./command-queue.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";
import { uploadMatrix, type WeightPart } from "./upload-matrix.ts";

export interface DeviceWeights {
  /** A table of embeddings: f32, or f16 in every other format. */
  table(ref: WeightRef): readonly WeightPart<QuadDtype>[];
  /** A matrix, in the format of the model. */
  matrix(ref: WeightRef): readonly WeightPart[];
  /** A vector, always f32. */
  vector(ref: WeightRef): GpuMemory;
  release(): void;
}

interface Wanted {
  readonly ref: WeightRef;
  /** Shape that the graph needs; a norm takes a vector of any length. */
  readonly shape: readonly number[] | undefined;
  readonly use: "table" | "matrix" | "vector";
}

const keyOf = ({ name, rows }: WeightRef): string => (rows ? `${name}[${rows.join(":")}]` : name);

function wantedBy({ nodes, vocabSize, hiddenSize }: DecoderGraph): Wanted[] {
  return nodes.flatMap((node): Wanted[] => {
    switch (node.op) {
      case "embed":
        return [{ ref: node.weight, shape: [vocabSize, hiddenSize], use: "table" }];
      case "rmsNorm":
        return [{ ref: node.weight, shape: undefined, use: "vector" }];
      case "linear": {
        const { weight, bias, outFeatures, inFeatures } = node;
        return [
          { ref: weight, shape: [outFeatures, inFeatures], use: "matrix" },
          ...(bias ? [{ ref: bias, shape: [outFeatures], use: "vector" } as const] : []),
        ];
      }
      default:
        return [];
    }
  });
}

/** Copies a graph's weights to the device, each once. Throws `invalid-model` where one does not fit. */
export async function loadDeviceWeights(
  gpu: Gpu,
  queue: CommandQueue,
  graph: DecoderGraph,
  source: WeightSource,
  { weightFormat = "f32", onProgress, signal }: LoadOptions,
): Promise<DeviceWeights> {
  const tableFormat: QuadDtype = weightFormat === "f32" ? "f32" : "f16";
  // A table that is a matrix too (tied weights) is stored once where both have the same format.
  const matrices = new Map<string, readonly WeightPart[]>();
  const vectors = new Map<string, GpuMemory>();
  const formatOf = (use: Wanted["use"]): WeightFormat =>
    use === "table" ? tableFormat : weightFormat;
  const stored = (ref: WeightRef, use: Wanted["use"]) => `${keyOf(ref)} as ${formatOf(use)}`;
  const release = () => {
    for (const parts of matrices.values())
      for (const { weight, scales, zeros } of parts)
        for (const memory of [weight, scales, zeros]) if (memory) gpu.release(memory);
    for (const memory of vectors.values()) gpu.release(memory);
  };
  const wanted = wantedBy(graph);
  try {
    for (const [done, { ref, shape, use }] of wanted.entries()) {
      if (signal?.aborted)
        throw new KvCacheError("aborted", "Loading the model was aborted.", {
          cause: signal.reason,
        });
      const key = keyOf(ref);
      const name = stored(ref, use);
      if (use === "vector" ? !vectors.has(key) : !matrices.has(name)) {
        const tensor = source.get(ref.name);
        if (use === "vector") {
          const floats = weightFloats(tensor, ref);
          checkSize(ref, floats.length, shape);
          const memory = gpu.allocate(key, "f32", floats.length);
          vectors.set(key, memory);
          queue.write(memory, 0, floats);
        } else {
          checkSize(ref, rowsOf(tensor, ref) * (tensor.shape[1] ?? 0), shape);
          matrices.set(name, uploadMatrix(gpu, queue, tensor, ref, shape![1]!, formatOf(use)));
        }
        // Without a pause, copies of all weights would wait in the host's memory.
        await gpu.device.queue.onSubmittedWorkDone();
        gpu.check();
      }
      onProgress?.(done + 1, wanted.length);
    }
  } catch (error) {
    release();
    throw error;
  }
  const found = <T>(map: ReadonlyMap<string, T>, key: string): T => {
    const value = map.get(key);
    if (!value) throw new KvCacheError("internal", `Weight ${key} was not loaded.`);
    return value;
  };
  return {
    table: (ref) => found(matrices, stored(ref, "table")) as readonly WeightPart<QuadDtype>[],
    matrix: (ref) => found(matrices, stored(ref, "matrix")),
    vector: (ref) => found(vectors, keyOf(ref)),
    release,
  };
}

const rowsOf = ({ shape }: WeightTensor, { rows }: WeightRef): number =>
  rows ? rows[1] - rows[0] : (shape[0] ?? 1);

function checkSize(ref: WeightRef, length: number, shape: readonly number[] | undefined): void {
  if (shape && length !== shape.reduce((a, b) => a * b, 1))
    throw new KvCacheError(
      "invalid-model",
      `Weight ${keyOf(ref)} has ${length} numbers, the model needs [${shape}].`,
      { value: length },
    );
}
