import { KvCacheError } from "@kvcache/core";
import type { InferenceSession, Tensor } from "onnxruntime-node";
import type { OnnxTensor } from "./onnx-model.ts";
import { rethrowOrtError } from "./ort-error.ts";
import type { StepArray } from "./step-inputs.ts";

/** The stock package onnxruntime-node. */
export type StockOrt = typeof import("onnxruntime-node");

/** A model ready for the stock package, with the constants that stay outside its protobuf. */
export interface StockModel {
  readonly bytes: Uint8Array;
  readonly external: readonly Pick<OnnxTensor, "name" | "data">[];
}

/** Loads the package. Throws `not-found` when it is not installed. */
export async function loadStockOrt(): Promise<StockOrt> {
  try {
    return await import("onnxruntime-node");
  } catch (cause) {
    throw new KvCacheError("not-found", "The package onnxruntime-node cannot be loaded.", {
      remedy: "Install it beside @kvcache/backend-ort.",
      cause,
    });
  }
}

export const createStockSession = (
  ort: StockOrt,
  { bytes, external }: StockModel,
  threads: number,
): Promise<InferenceSession> =>
  ort.InferenceSession.create(bytes, {
    intraOpNumThreads: threads,
    // The shapes of every step differ: plans of their memory would pile up, and every session's
    // arena would keep the memory of its largest step. Plain allocation measured no slower.
    enableMemPattern: false,
    enableCpuMemArena: false,
    // Errors come as exceptions.
    logSeverityLevel: 4,
    externalData: external.map(({ name, data }) => ({ path: name, data })),
    extra: { session: { intra_op: { allow_spinning: "0" } } },
  }).catch(rethrowOrtError);

/** Wraps an array for the stock package, which refuses shared memory: that is copied. */
export function stockTensor(ort: StockOrt, { type, data, dims }: StepArray): Tensor {
  const own = data.buffer instanceof SharedArrayBuffer ? data.slice() : data;
  return type === "f32"
    ? new ort.Tensor("float32", own as Float32Array, dims)
    : new ort.Tensor("int32", own as Int32Array, dims);
}
