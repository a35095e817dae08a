import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { env } from "node:process";
import { fileURLToPath } from "node:url";
import { KvCacheError } from "@kvcache/core";
import type { OnnxType } from "./onnx-model.ts";
import { onnxType } from "./onnx-model.ts";

declare const sessionBrand: unique symbol;
/** A session of the addon; it is released when it is collected, or by `releaseSession`. */
export interface NativeSession {
  readonly [sessionBrand]: true;
}

/** An array as the addon takes it; `type` is a number of {@link onnxType}. */
export interface NativeTensor {
  readonly data: ArrayBufferView;
  readonly type: number;
  readonly dims: readonly number[];
}

export interface NativeSessionOptions {
  readonly threads: number;
  /** Whether idle threads of the session spin while they wait for work. */
  readonly spinning: boolean;
  /** Whether the model has ops of domain kvcache. */
  readonly customOps: boolean;
  readonly external: readonly { readonly name: string; readonly data: Uint8Array }[];
}

/** What `registerCache` reads; arrays have the meaning of core's HostCache. */
export interface NativeCache {
  readonly numLayers: number;
  readonly numQueryHeads: number;
  readonly numKvHeads: number;
  readonly headDim: number;
  readonly maxSequences: number;
  readonly maxBlocksPerRow: number;
  readonly windowSize: number;
  readonly arenas: readonly {
    readonly storage: Uint8Array;
    readonly positions: Int32Array;
    readonly sumAttention: Float32Array;
    readonly sumSquaredAttention: Float32Array;
    readonly blockSize: number;
    readonly numBlocks: number;
    /** 0 = f32, 1 = f16. */
    readonly keyDtype: number;
    readonly keyWidth: number;
    readonly valueDtype: number;
    readonly valueWidth: number;
  }[];
  readonly arenaOfLayer: Uint8Array;
  readonly layerMap: Int32Array;
  readonly blockTables: Int32Array;
  readonly lengths: Int32Array;
  readonly nextPositions: Int32Array;
  readonly windowQueries: Float32Array;
}

/** The module kvcache_native.node (packages/backend-ort/native). */
export interface NativeAddon {
  /** Opens onnxruntime, once per process. */
  init(libraryPath: string): { readonly version: string; readonly instructionSet: string };
  createSession(model: Uint8Array, options: NativeSessionOptions): Promise<NativeSession>;
  releaseSession(session: NativeSession): void;
  /**
   * Inputs in the model's order and as many of its first outputs as are wanted, which are written
   * in place.
   */
  run(
    session: NativeSession,
    inputs: readonly NativeTensor[],
    outputs: readonly NativeTensor[],
  ): void;
  /** The same on a worker thread; the arrays must not change until the promise settles. */
  runAsync(
    session: NativeSession,
    inputs: readonly NativeTensor[],
    outputs: readonly NativeTensor[],
  ): Promise<void>;
  registerCache(cache: NativeCache): bigint;
  releaseCache(handle: bigint): void;
}

export const nativeTensor = (
  data: ArrayBufferView,
  type: OnnxType,
  dims: readonly number[],
): NativeTensor => ({ data, type: onnxType[type], dims });

/**
 * Loads the addon: KVCACHE_NATIVE, a prebuilt library of this package, or the one that the
 * workspace built. Throws `unsupported` saying why there is none.
 */
export function loadNativeAddon(): NativeAddon {
  const chosen = env.KVCACHE_NATIVE;
  if (chosen === "off") throw unavailable("the native library is off (KVCACHE_NATIVE=off)");
  const candidates = chosen
    ? [chosen]
    : [
        `../prebuilds/${process.platform}-${process.arch}/kvcache_native.node`,
        "../../../kernels/build/kvcache_native.node",
      ].map((path) => fileURLToPath(new URL(path, import.meta.url)));
  const path = candidates.find((candidate) => existsSync(candidate));
  if (path === undefined)
    throw unavailable(chosen ? `there is no file ${chosen}` : "the native library was not built");
  try {
    return createRequire(import.meta.url)(path) as NativeAddon;
  } catch (cause) {
    throw unavailable(`${path} cannot be loaded`, cause);
  }
}

const unavailable = (reason: string, cause?: unknown) =>
  new KvCacheError("unsupported", reason, { cause });
