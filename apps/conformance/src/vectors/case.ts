import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { KvCacheError } from "@kvcache/core";
import { readSafetensors, type VectorTensor } from "./safetensors.ts";

/** One conformance case: inputs, and the answers another implementation gave on them. */
export interface VectorCase {
  readonly id: string;
  readonly kind: string;
  readonly method: string;
  readonly params: Readonly<Record<string, unknown>>;
  readonly shape: VectorShape;
  /** Names of expected tensors. */
  readonly expect: readonly string[];
  readonly tolerance: Readonly<Record<string, number>>;
  /** Inputs and expected tensors by name. */
  readonly tensors: ReadonlyMap<string, VectorTensor>;
}

export interface VectorShape {
  readonly layers: number;
  readonly queryHeads: number;
  readonly kvHeads: number;
  readonly headDim: number;
  readonly tokens: number;
  /** Hidden size and RoPE base, where the method looks at more than the cache. */
  readonly hidden?: number;
  readonly ropeTheta?: number;
}

export type Verdict =
  | { readonly status: "passed" }
  | { readonly status: "failed"; readonly reason: string }
  | { readonly status: "skipped"; readonly reason: string };

export const passed: Verdict = { status: "passed" };
export const failed = (reason: string): Verdict => ({ status: "failed", reason });
export const skipped = (reason: string): Verdict => ({ status: "skipped", reason });

/** Reads `<name>.json` and the tensor file it names. Throws `invalid-file` on anything malformed. */
export async function readCase(path: string): Promise<VectorCase> {
  const text = await readFile(path, "utf8");
  const json = parse(path, text);
  const malformed = (what: string): never => {
    throw new KvCacheError("invalid-file", `${path}: ${what}.`);
  };
  const { shape } = json as { shape?: Partial<VectorShape> };
  for (const key of ["id", "kind", "method"])
    if (typeof json[key] !== "string") malformed(`${key} must be a text`);
  for (const key of ["layers", "queryHeads", "kvHeads", "headDim", "tokens"] as const)
    if (!Number.isInteger(shape?.[key])) malformed(`shape.${key} must be an integer`);
  const names = [...listOf(json.inputs), ...listOf(json.expect)];
  const tensors =
    typeof json.tensors === "string"
      ? readSafetensors(await readFile(join(dirname(path), json.tensors)), path)
      : new Map<string, VectorTensor>();
  for (const name of names) if (!tensors.has(name)) malformed(`tensor ${name} is missing`);
  return {
    id: json.id as string,
    kind: json.kind as string,
    method: json.method as string,
    params: (json.params ?? {}) as Record<string, unknown>,
    shape: shape as VectorShape,
    expect: listOf(json.expect),
    tolerance: (json.tolerance ?? {}) as Record<string, number>,
    tensors: new Map(names.map((name) => [name, tensors.get(name)!])),
  };
}

function parse(path: string, text: string): Record<string, unknown> {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new KvCacheError("invalid-file", `${path} is not JSON.`, { cause });
  }
}

const listOf = (value: unknown): readonly string[] => (Array.isArray(value) ? value : []);

/** A float tensor of the case; zeros of `length` where it is not given. */
export function floats(vector: VectorCase, name: string, length: number): Float32Array {
  const tensor = vector.tensors.get(name);
  if (tensor === undefined) return new Float32Array(length);
  if (!(tensor.data instanceof Float32Array))
    throw new KvCacheError("invalid-file", `${vector.id}: ${name} must be F32.`);
  return tensor.data;
}

/** An integer tensor of the case, or nothing where it is not given. */
export function integers(vector: VectorCase, name: string): Int32Array | undefined {
  const tensor = vector.tensors.get(name);
  if (tensor !== undefined && !(tensor.data instanceof Int32Array))
    throw new KvCacheError("invalid-file", `${vector.id}: ${name} must be I32.`);
  return tensor?.data as Int32Array | undefined;
}
