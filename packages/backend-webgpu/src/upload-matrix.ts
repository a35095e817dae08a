import {
  floatsToHalves,
  KvCacheError,
  type WeightFormat,
  type WeightRef,
  type WeightTensor,
  weightFloats,
} from "@kvcache/core";
import { quantisationBlock, quantiseRows } from "@kvcache/kernels";
import type { CommandQueue } from "./command-queue.ts";
import type { Gpu } from "./gpu.ts";
import type { GpuMemory } from "./gpu-memory.ts";

/** Rows [firstRow, firstRow + numRows) of a matrix: as many as one binding can show. */
export interface WeightPart<F extends WeightFormat = WeightFormat> {
  readonly dtype: F;
  readonly weight: GpuMemory;
  /** Of integers: see core's WeightFormat. */
  readonly scales?: GpuMemory;
  readonly zeros?: GpuMemory;
  readonly firstRow: number;
  readonly numRows: number;
}

const rowBytes = (format: WeightFormat, width: number): number => {
  const blocks = Math.ceil(width / quantisationBlock);
  if (format === "int8") return blocks * quantisationBlock;
  if (format === "int4") return (blocks * quantisationBlock) / 2;
  return width * (format === "f32" ? 4 : 2);
};

/** Rows that are converted at a time: the host needs their memory beside the stored ones. */
const conversionBytes = 2 ** 26;

/** Copies a matrix to the device in a format. Throws `unsupported` for rows of odd widths. */
export function uploadMatrix(
  gpu: Gpu,
  queue: CommandQueue,
  tensor: WeightTensor,
  ref: WeightRef,
  width: number,
  format: WeightFormat,
): readonly WeightPart[] {
  const { name } = ref;
  if (width % 4 !== 0)
    throw new KvCacheError(
      "unsupported",
      `WebGPU needs rows of a multiple of 4, ${name} has ${width}.`,
      { value: width, remedy: "Use another backend for this model." },
    );
  const [start, end] = ref.rows ?? [0, tensor.shape[0]!];
  const bytes = rowBytes(format, width);
  const blocks = format.startsWith("int") ? Math.ceil(width / quantisationBlock) : 0;
  const perPart = Math.min(end - start, Math.floor(gpu.maxBindingBytes / Math.max(bytes, 1)));
  // Scales of 4 bytes are written at once, zeros of 1 byte in whole words.
  const perSlab = Math.max(4, Math.floor(conversionBytes / (4 * width) / 4) * 4);
  const parts: WeightPart[] = [];
  for (let firstRow = 0; firstRow < end - start; firstRow += perPart) {
    const numRows = Math.min(perPart, end - start - firstRow);
    const weight = gpu.allocate(name, "u32", Math.ceil((numRows * bytes) / 4));
    const scales = blocks > 0 ? gpu.allocate(name, "f32", numRows * blocks) : undefined;
    const zeros =
      blocks > 0 ? gpu.allocate(name, "u32", Math.ceil((numRows * blocks) / 4)) : undefined;
    for (let row = 0; row < numRows; row += perSlab) {
      const from = start + firstRow + row;
      const rows = [from, Math.min(from + perSlab, start + firstRow + numRows)] as const;
      const isStored = format === tensor.dtype && tensor.data.length === tensor.shape[0]! * bytes;
      if (isStored) {
        queue.write(weight, row * bytes, tensor.data.subarray(rows[0] * bytes, rows[1] * bytes));
        continue;
      }
      const floats = weightFloats(tensor, { name, rows });
      if (format === "f32") queue.write(weight, row * bytes, floats);
      else if (format === "f16") {
        const halves = new Uint16Array(floats.length);
        floatsToHalves(floats, halves);
        queue.write(weight, row * bytes, halves);
      } else {
        const slab = quantiseRows(floats, width, format === "int4" ? 4 : 8, name);
        queue.write(weight, row * bytes, slab.values);
        queue.write(scales!, row * blocks * 4, slab.scales);
        queue.write(zeros!, row * blocks, wholeWords(slab.zeros));
      }
    }
    parts.push({
      dtype: format,
      weight,
      ...(scales && { scales }),
      ...(zeros && { zeros }),
      firstRow,
      numRows,
    });
  }
  return parts;
}

function wholeWords(bytes: Uint8Array): Uint8Array {
  if (bytes.length % 4 === 0) return bytes;
  const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  padded.set(bytes);
  return padded;
}
