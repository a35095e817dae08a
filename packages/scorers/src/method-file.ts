import { KvCacheError } from "@kvcache/core";
import { type FileTensor, readTensorFile, writeTensorFile } from "./tensor-file.ts";

/**
 * Weights or statistics that a method needs for one model: a safetensors file whose metadata says
 * what it is. `kvcache.method`: the method; `kvcache.version`: "1"; `kvcache.model`: fingerprint or
 * name of the model, may be empty; anything else is about how it was made.
 */
export interface MethodFile {
  readonly method: string;
  readonly model: string;
  readonly about: Readonly<Record<string, string>>;
  readonly tensors: ReadonlyMap<string, FileTensor>;
}

/** What a policy's options say of such a file: which one it was, not what is in it. */
export interface MethodFileIdentity {
  readonly model: string;
  /** Hash of the tensors. */
  readonly fingerprint: string;
}

const version = "1";

/** Throws `invalid-file` when the bytes are no file of this method and version. */
export function readMethodFile(bytes: Uint8Array, method: string): MethodFile {
  const { metadata, tensors } = readTensorFile(bytes);
  const {
    "kvcache.method": found,
    "kvcache.version": foundVersion,
    "kvcache.model": model = "",
    ...about
  } = metadata;
  if (found !== method)
    throw new KvCacheError(
      "invalid-file",
      `This file ${found === undefined ? "names no method" : `is for ${found}`}, not for ${method}.`,
      {
        value: found ?? null,
        remedy: "Convert a published file first: each method has a function.",
      },
    );
  if (foundVersion !== version)
    throw new KvCacheError(
      "invalid-file",
      `This file has version ${foundVersion} of its format; ${version} can be read.`,
      { value: foundVersion, remedy: "Convert or calibrate it again." },
    );
  return { method, model, about, tensors };
}

export const writeMethodFile = (
  { method, model, about, tensors }: MethodFile,
  dtype: "F32" | "F16" = "F32",
): Uint8Array => {
  const own = { "kvcache.method": method, "kvcache.version": version, "kvcache.model": model };
  return writeTensorFile({ metadata: { ...about, ...own }, tensors }, dtype);
};

/** A tensor of a file. Throws `invalid-file` when it is missing or has another rank. */
export function tensorOf(
  tensors: ReadonlyMap<string, FileTensor>,
  name: string,
  rank: number,
): FileTensor {
  const tensor = tensors.get(name);
  if (tensor?.shape.length === rank) return tensor;
  throw new KvCacheError(
    "invalid-file",
    tensor
      ? `Tensor ${name} has shape [${tensor.shape}], not ${rank} dimensions.`
      : `Tensor ${name} is missing.`,
    { value: tensor?.shape ?? [...tensors.keys()] },
  );
}

/** Throws `invalid-file` unless a tensor has exactly this shape. */
export function checkTensorShape(
  name: string,
  { shape }: FileTensor,
  wanted: readonly number[],
): void {
  if (shape.length === wanted.length && shape.every((size, i) => size === wanted[i])) return;
  throw new KvCacheError(
    "invalid-file",
    `Tensor ${name} has shape [${shape}] where [${wanted}] belongs.`,
    { value: shape },
  );
}

/** Throws `invalid-plan` where a method's file belongs to a model of another shape. */
export function checkModelShape(
  what: string,
  found: readonly number[],
  wanted: readonly number[],
): void {
  if (found.length === wanted.length && found.every((size, i) => size === wanted[i])) return;
  throw new KvCacheError(
    "invalid-plan",
    `The ${what} were made for another model: shape [${found}], this one needs [${wanted}].`,
    { value: found, remedy: "Load the file that belongs to this model." },
  );
}

/**
 * Throws `invalid-plan` where a method's file names the fingerprint of another model. Files that say a
 * name, or nothing, can be told apart by their shape only.
 */
export function checkModelFingerprint(
  what: string,
  { model }: Pick<MethodFileIdentity, "model">,
  fingerprint: string | undefined,
): void {
  if (fingerprint === undefined || model === fingerprint || !/^[0-9a-f]{32}$/.test(model)) return;
  throw new KvCacheError(
    "invalid-plan",
    `The ${what} were made for another model, ${model}; this one is ${fingerprint}.`,
    { value: model, remedy: "Load the file that belongs to this model, or make one." },
  );
}

/** 64-bit FNV-1a hash of tensors, as 16 hexadecimal digits: equal numbers, equal fingerprints. */
export function tensorFingerprint(...arrays: readonly Float32Array[]): string {
  let low = 0x84222325;
  let high = 0xcbf29ce4;
  for (const array of arrays)
    for (const word of new Uint32Array(array.buffer, array.byteOffset, array.length)) {
      low = (low ^ word) >>> 0;
      // Times 2⁴⁰ + 0x1b3, modulo 2⁶⁴, in halves.
      const product = low * 0x1b3;
      high = (Math.imul(high, 0x1b3) + Math.floor(product / 2 ** 32) + (low << 8)) >>> 0;
      low = product >>> 0;
    }
  return high.toString(16).padStart(8, "0") + low.toString(16).padStart(8, "0");
}
