import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KvCacheError } from "@kvcache/core";
import { readSafetensors, type VectorTensor } from "../vectors/safetensors.ts";

/** A case of kind "decoder": a model folder and what another implementation answered with it. */
export interface DecoderCase {
  readonly id: string;
  readonly check: "forward" | "evicted" | "tokenizer" | "pipeline" | "sampling";
  /** The model folder; sampling cases have none. */
  readonly folder: string;
  readonly optional: boolean;
  readonly tolerance: Readonly<Record<string, number>>;
  readonly tensors: ReadonlyMap<string, VectorTensor>;
  /** The case as written: fields differ by check. */
  readonly json: Readonly<Record<string, unknown>>;
}

const checks = ["forward", "evicted", "tokenizer", "pipeline", "sampling"];

/** Throws `invalid-file` when the case is malformed. */
export async function readDecoderCase(path: string): Promise<DecoderCase> {
  const json = JSON.parse(await readFile(path, "utf8")) as Record<string, unknown>;
  const folder = dirname(path);
  if (typeof json.id !== "string" || !checks.includes(json.check as string))
    throw new KvCacheError("invalid-file", `${path}: id or check is missing or unknown.`, {
      value: json.check,
    });
  return {
    id: json.id,
    check: json.check as DecoderCase["check"],
    folder: join(folder, String(json.model ?? "model")),
    optional: json.optional === true,
    tolerance: (json.tolerance ?? {}) as Record<string, number>,
    tensors:
      typeof json.tensors === "string"
        ? readSafetensors(await readFile(join(folder, json.tensors)), path)
        : new Map(),
    json,
  };
}

/** A tensor of the case. Throws `invalid-file` when it is missing. */
export function tensor<D extends "f32" | "i32">(
  test: DecoderCase,
  name: string,
  _dtype: D,
): D extends "f32" ? Float32Array : Int32Array {
  const found = test.tensors.get(name);
  if (!found)
    throw new KvCacheError("invalid-file", `${test.id}: tensor ${name} is missing.`, {
      value: name,
    });
  return found.data as D extends "f32" ? Float32Array : Int32Array;
}
