import {
  type DecoderGraph,
  floatsToHalves,
  KvCacheError,
  type LoadOptions,
  type WeightRef,
  type WeightSource,
  weightFloats,
} from "@kvcache/core";
import type { QuadDtype } from "@kvcache/kernels";
import type { CommandQueue } from "./command-queue.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

/** Rows [firstRow, firstRow + numRows) of a matrix: as many as one binding can show. */
export interface WeightPart {
  readonly memory: GpuMemory;
  readonly firstRow: number;
  readonly numRows: number;
}

export interface DeviceWeights {
  readonly dtype: QuadDtype;
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
}

const keyOf = ({ name, rows }: WeightRef): string => (rows ? `${name}[${rows.join(":")}]` : name);

function wantedBy({ nodes, vocabSize, hiddenSize }: DecoderGraph): Wanted[] {
  return nodes.flatMap((node): Wanted[] => {
    switch (node.op) {
      case "embed":
        return [{ ref: node.weight, shape: [vocabSize, hiddenSize] }];
      case "rmsNorm":
        return [{ ref: node.weight, shape: undefined }];
      case "linear": {
        const weight = { ref: node.weight, shape: [node.outFeatures, node.inFeatures] };
        return node.bias ? [weight, { ref: node.bias, shape: [node.outFeatures] }] : [weight];
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
  if (weightFormat !== "f32" && weightFormat !== "f16")
    throw new KvCacheError(
      "unsupported",
      `WebGPU keeps weights as f32 or f16, not ${weightFormat}.`,
      {
        value: weightFormat,
        remedy: "Use weightFormat f32 or f16.",
      },
    );
  const dtype: QuadDtype = weightFormat;
  const matrices = new Map<string, WeightPart[]>();
  const vectors = new Map<string, GpuMemory>();
  const release = () => {
    for (const parts of matrices.values()) for (const { memory } of parts) gpu.release(memory);
    for (const memory of vectors.values()) gpu.release(memory);
  };
  const wanted = wantedBy(graph);
  try {
    for (const [done, { ref, shape }] of wanted.entries()) {
      if (signal?.aborted)
        throw new KvCacheError("aborted", "Loading the model was aborted.", {
          cause: signal.reason,
        });
      const key = keyOf(ref);
      if (!matrices.has(key) && !vectors.has(key)) {
        const floats = weightFloats(source.get(ref.name), ref);
        checkSize(ref, floats.length, shape);
        if (shape?.length === 2)
          matrices.set(key, upload(gpu, queue, key, floats, shape[1]!, dtype));
        else {
          const memory = gpu.allocate(key, "f32", floats.length);
          queue.write(memory, 0, floats);
          vectors.set(key, memory);
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
  const found = <T>(map: ReadonlyMap<string, T>, ref: WeightRef): T => {
    const value = map.get(keyOf(ref));
    if (!value) throw new KvCacheError("internal", `Weight ${ref.name} was not loaded.`);
    return value;
  };
  return {
    dtype,
    matrix: (ref) => found(matrices, ref),
    vector: (ref) => found(vectors, ref),
    release,
  };
}

function upload(
  gpu: Gpu,
  queue: CommandQueue,
  key: string,
  floats: Float32Array,
  width: number,
  dtype: QuadDtype,
): WeightPart[] {
  if (width % 4 !== 0)
    throw new KvCacheError(
      "unsupported",
      `WebGPU needs rows of a multiple of 4, ${key} has ${width}.`,
      {
        value: width,
        remedy: "Use another backend for this model.",
      },
    );
  const rowBytes = width * (dtype === "f32" ? 4 : 2);
  const numRows = floats.length / width;
  const perPart = Math.min(numRows, Math.floor(gpu.maxBindingBytes / rowBytes));
  const parts: WeightPart[] = [];
  for (let firstRow = 0; firstRow < numRows; firstRow += perPart) {
    const rows = Math.min(perPart, numRows - firstRow);
    const values = floats.subarray(firstRow * width, (firstRow + rows) * width);
    let data: ArrayBufferView = values;
    if (dtype === "f16") {
      const halves = new Uint16Array(values.length);
      floatsToHalves(values, halves);
      data = halves;
    }
    const memory = gpu.allocate(key, dtype === "f32" ? "f32" : "u32", data.byteLength / 4);
    queue.write(memory, 0, data);
    parts.push({ memory, firstRow, numRows: rows });
  }
  return parts;
}

function checkSize(ref: WeightRef, length: number, shape: readonly number[] | undefined): void {
  if (shape && length !== shape.reduce((a, b) => a * b, 1))
    throw new KvCacheError(
      "invalid-model",
      `Weight ${keyOf(ref)} has ${length} numbers, the model needs [${shape}].`,
      { value: length },
    );
}
