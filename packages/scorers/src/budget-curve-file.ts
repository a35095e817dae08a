import { KvCacheError } from "@kvcache/core";
import type { BudgetCurve } from "@kvcache/kernels";
import {
  type MethodFileIdentity,
  readMethodFile,
  tensorFingerprint,
  tensorOf,
  writeMethodFile,
} from "./method-file.ts";
import { readNpyFile } from "./npy-file.ts";
import type { FileTensor } from "./tensor-file.ts";

/** A budget curve of one model and scorer, with its origin. */
export interface BudgetCurveFile extends BudgetCurve, MethodFileIdentity {}

/** Throws `invalid-file` unless it has 99 targets and fractions in [0, 1]. */
export function budgetCurveOf({ shape, data }: FileTensor, model = ""): BudgetCurveFile {
  if (shape.length !== 3 || shape[0] !== 99)
    throw new KvCacheError(
      "invalid-file",
      `A budget curve has shape [99, layers, KV heads], not [${shape}].`,
      { value: shape },
    );
  const odd = data.find((fraction) => !(fraction >= 0 && fraction <= 1));
  if (odd !== undefined)
    throw new KvCacheError("invalid-file", `A budget curve holds fractions, not ${odd}.`, {
      value: odd,
    });
  return Object.freeze({
    shape: shape as [number, number, number],
    fractions: data,
    model,
    fingerprint: tensorFingerprint(data),
  });
}

/** Reads a file of method lu-kv: `curve` [99, layers, KV heads]. Throws `invalid-file`. */
export function readBudgetCurve(bytes: Uint8Array): BudgetCurveFile {
  const { model, tensors } = readMethodFile(bytes, "lu-kv");
  return budgetCurveOf(tensorOf(tensors, "curve", 3), model);
}

/** Reads a curve as its authors publish it: a .npy file. Throws `invalid-file`. */
export const convertBudgetCurve = (bytes: Uint8Array, model = ""): BudgetCurveFile =>
  budgetCurveOf(readNpyFile(bytes), model);

export const writeBudgetCurve = (
  { shape, fractions, model }: BudgetCurveFile,
  about: Readonly<Record<string, string>> = {},
): Uint8Array =>
  writeMethodFile({
    method: "lu-kv",
    model,
    about,
    tensors: new Map([["curve", { shape, data: fractions }]]),
  });
