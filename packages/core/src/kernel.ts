import type { KvBatch } from "./batch.ts";
import type { HostCache } from "./host-cache.ts";
import type { BlockLayout } from "./layout.ts";
import type { Tensor, TensorDtype } from "./tensor.ts";

/** What a native (C++ or CUDA) implementation of a kernel is called with. */
export interface NativeCall {
  /** Cache whose memory the kernel reads or writes, if any. */
  readonly cache?: HostCache;
  readonly inputs: readonly Tensor[];
  readonly outputs: readonly Tensor[];
  readonly integers: readonly number[];
  readonly floats: readonly number[];
}

/**
 * What a WGSL dispatch reads or writes: a tensor of an encoder, a host tensor (which is uploaded), or
 * a part of a device's memory that only the backend can make.
 */
export type WgslBuffer = Tensor;

/** One storage binding: `var<storage> <name>: array<type>`. */
export interface WgslBinding {
  readonly buffer: WgslBuffer;
  /** WGSL type of an element: "f32", "u32", "i32", "vec4f", "vec2u" … */
  readonly type: string;
}

/**
 * One dispatch. The recorder declares what the code uses: `params.<name>` for the numbers, and one
 * global array per binding, reads first. No buffer may be both read and written. At most 8 bindings,
 * 16 KiB of workgroup memory and 256 invocations run everywhere.
 */
export interface WgslDispatch {
  /** For people: shown in errors. */
  readonly name: string;
  /** WGSL with the entry point `main`. Equal texts share one pipeline, so put only structure in it. */
  readonly code: string;
  /** Features that the code needs (`enable …;`): see the tiers of the backend. */
  readonly enables?: readonly string[];
  /** Numbers that change from call to call. */
  readonly u32?: Readonly<Record<string, number>>;
  readonly i32?: Readonly<Record<string, number>>;
  readonly f32?: Readonly<Record<string, number>>;
  readonly reads: Readonly<Record<string, WgslBinding>>;
  readonly writes: Readonly<Record<string, WgslBinding>>;
  /**
   * Number of workgroups, any size: laid out in two dimensions where one is too short, so code finds
   * its own by the function `workgroupIndex(workgroup_id, num_workgroups)`, which may exceed it.
   */
  readonly workgroups: number;
}

/** The rows of a batch that live in one arena, and the arena's memory. */
export interface WgslArena {
  readonly layout: BlockLayout;
  readonly numRows: number;
  /** Slots of the longest row, at most. */
  readonly longestRow: number;
  /**
   * u32 [numRows, 8]: begin and end in per-slot tables of the batch, row of the cache's tables, row
   * of the batch, index of the sequence in the batch, layer, head, sequence slot.
   */
  readonly rows: WgslBuffer;
  /** Keys and values as `HostArena.storage` has them. */
  readonly storage: WgslBuffer;
  /** u32 [3, numSlots]: positions (i32), Σa (f32), Σa² (f32). */
  readonly side: WgslBuffer;
  readonly numSlots: number;
}

/** A batch as WGSL sees it. */
export interface WgslBatch {
  readonly arenas: readonly WgslArena[];
  /**
   * i32: blocks of row r at r × maxBlocksPerRow …, then from `lengthsAt` on the lengths of all rows;
   * r = sequence slot × numRows + layer × numKvHeads + head.
   */
  readonly tables: WgslBuffer;
  readonly maxBlocksPerRow: number;
  readonly lengthsAt: number;
  /** f32, as `HostCache.windowQueries`. */
  readonly windowQueries: WgslBuffer;
  readonly windowSize: number;
}

/** What a kernel records its dispatches onto. */
export interface WgslRecorder {
  /** Zeroed scratch memory that lives until the encoder's results were read. */
  tensor(dtype: TensorDtype, length: number): Tensor;
  batch(batch: KvBatch): WgslBatch;
  dispatch(dispatch: WgslDispatch): void;
}

/** How a kernel runs on WebGPU: records one or more dispatches, which run in order. */
export interface WgslKernel<P> {
  /** Whether these parameters can run there; yes when absent. The reference runs otherwise. */
  readonly supports?: (params: P) => boolean;
  readonly record: (params: P, recorder: WgslRecorder) => void;
}

/**
 * A kernel is a value: a reference that defines the result (float64 accumulation, host memory)
 * and, where they exist, faster implementations of the same name and parameters.
 */
export interface Kernel<P> {
  readonly name: string;
  readonly reference: (params: P) => void;
  /** Present where the native library has an op of this name: maps parameters to its call. */
  readonly native?: (params: P) => NativeCall;
  readonly wgsl?: WgslKernel<P>;
}

export const defineKernel = <P>(kernel: Kernel<P>): Kernel<P> => Object.freeze(kernel);
