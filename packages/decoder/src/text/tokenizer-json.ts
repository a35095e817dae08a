import { KvCacheError } from "@kvcache/core";

export type JsonObject = { readonly [key: string]: unknown };

/** An error about tokenizer.json; `where` is the path inside the file, such as `model.vocab`. */
export function invalidTokenizer(where: string, what: string, value?: unknown): KvCacheError {
  return new KvCacheError("invalid-model", `tokenizer.json: ${where} ${what}.`, {
    value,
    remedy: "Use the tokenizer.json that was published with the model.",
  });
}

export function objectAt(value: unknown, where: string): JsonObject {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw invalidTokenizer(where, "must be an object", value);
  }
  return value as JsonObject;
}

export function arrayAt(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw invalidTokenizer(where, "must be an array", value);
  return value;
}

export function stringAt(value: unknown, where: string, fallback?: string): string {
  if (value === undefined && fallback !== undefined) return fallback;
  if (typeof value !== "string") throw invalidTokenizer(where, "must be a string", value);
  return value;
}

export function booleanAt(value: unknown, where: string, fallback?: boolean): boolean {
  if ((value === undefined || value === null) && fallback !== undefined) return fallback;
  if (typeof value !== "boolean") throw invalidTokenizer(where, "must be true or false", value);
  return value;
}

/** A token id or a count: an integer in 0 .. 2^31 - 1, so that it fits an Int32Array. */
export function integerAt(value: unknown, where: string, fallback?: number): number {
  if (value === undefined && fallback !== undefined) return fallback;
  if (!Number.isInteger(value) || (value as number) < 0 || (value as number) > 0x7fffffff) {
    throw invalidTokenizer(where, "must be an integer from 0 to 2147483647", value);
  }
  return value as number;
}

/** `{ type: …, … }`, the form of every part of the pipeline. */
export function partAt(value: unknown, where: string): { type: string; config: JsonObject } {
  const config = objectAt(value, where);
  return { type: stringAt(config.type, `${where}.type`), config };
}

export function unsupportedPart(where: string, type: string): KvCacheError {
  return new KvCacheError(
    "unsupported",
    `tokenizer.json: ${where} has the unknown type "${type}".`,
    {
      value: type,
      remedy: "Convert the tokenizer to one without it.",
    },
  );
}
