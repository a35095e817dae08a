import {
  type CacheLayout,
  cacheLayout,
  type Encoder,
  hostArray,
  hostTensor,
  type KeepSet,
  KvCacheError,
  type SequenceSlot,
} from "@kvcache/core";
import type { PagedCache } from "../paged-cache.ts";

/** One layer, `heads` KV heads of two numbers, blocks of four tokens. */
export const smallLayout = (heads = 1, blockSize = 4): CacheLayout =>
  cacheLayout(
    { numLayers: 1, numQueryHeads: heads, numKvHeads: heads, headDim: 2 },
    { blockSize, dtype: "f32" },
  );

/** Runs kernels while they are recorded. */
export const hostEncoder: Encoder = {
  tensor: (dtype, length) =>
    hostTensor(new { f32: Float32Array, u32: Uint32Array, i32: Int32Array }[dtype](length)),
  upload: hostTensor,
  run: (kernel, params) => kernel.reference(params),
  submit: async () => {},
  read: async (tensor) => hostArray(tensor, tensor.dtype),
};

/** Kept slots of each row as a keep set. */
export function keepSet(rows: readonly (readonly number[])[]): KeepSet {
  const indptr = new Uint32Array(rows.length + 1);
  rows.forEach((row, i) => {
    indptr[i + 1] = indptr[i]! + row.length;
  });
  return { indptr: hostTensor(indptr), indices: hostTensor(Uint32Array.from(rows.flat())) };
}

/** Compacts one sequence to these slots per row. */
export function compactTo(
  cache: PagedCache,
  sequence: SequenceSlot,
  rows: readonly (readonly number[])[],
): Promise<void> {
  const protect = { sinks: 0, recent: 0 };
  const batch = cache.batch([sequence], { protect, phase: "prefill" });
  return cache.compact(hostEncoder, batch, keepSet(rows));
}

/** The code that `run` fails with; undefined when it does not. */
export function codeOf(run: () => unknown): string | undefined {
  try {
    run();
    return undefined;
  } catch (error) {
    if (error instanceof KvCacheError) return error.code;
    throw error;
  }
}
