import { KvCacheError } from "@kvcache/core";
import type { JsonObject } from "./json-file.ts";

export interface Range {
  readonly min: number;
  readonly max: number;
  /** The value must be greater than `min`. */
  readonly above?: boolean;
}

/** Token ids, positions, sizes: what an i32 can hold. */
export const MAX_INTEGER = 2 ** 31 - 1;

/**
 * Typed reading of an untrusted JSON object: each getter checks type and range and throws
 * `invalid-model` naming file and field. `null` counts as absent; an absent field gives the
 * fallback, and is an error where there is none.
 */
export interface Fields {
  /** `config.json: rope_scaling.factor`, for messages. */
  path(field: string): string;
  /** The key is there, be it null. */
  given(field: string): boolean;
  raw(field: string): unknown;
  integer(field: string, range: Range, fallback?: number): number;
  number(field: string, range: Range, fallback?: number): number;
  boolean(field: string, fallback: boolean): boolean;
  string(field: string, fallback?: string): string;
  list(field: string): readonly unknown[] | undefined;
  object(field: string): Fields | undefined;
  keys(): readonly string[];
  fail(field: string, what: string): KvCacheError;
}

export function fieldsOf(object: JsonObject, file: string, prefix = ""): Fields {
  const path = (field: string) => `${file}: ${prefix}${field}`;
  const raw = (field: string): unknown =>
    Object.hasOwn(object, field) ? (object[field] ?? undefined) : undefined;
  const fail = (field: string, what: string) =>
    new KvCacheError("invalid-model", `${path(field)} ${what}, got ${show(raw(field))}.`, {
      value: raw(field),
    });

  function read<T>(
    field: string,
    fallback: T | undefined,
    what: string,
    ok: (v: unknown) => boolean,
  ) {
    const value = raw(field);
    if (value === undefined) {
      if (fallback !== undefined) return fallback;
      throw new KvCacheError("invalid-model", `${path(field)} is missing; it ${what}.`, {
        value: field,
      });
    }
    if (!ok(value)) throw fail(field, what);
    return value as T;
  }
  const inRange = (value: unknown, { min, max, above }: Range) =>
    typeof value === "number" && (above ? value > min : value >= min) && value <= max;
  const describe = ({ min, max, above }: Range) => `${above ? "above" : "from"} ${min} to ${max}`;

  return {
    path,
    raw,
    fail,
    given: (field) => Object.hasOwn(object, field),
    keys: () => Object.keys(object),
    integer: (field, range, fallback) =>
      read(
        field,
        fallback,
        `must be an integer ${describe(range)}`,
        (value) => Number.isInteger(value) && inRange(value, range),
      ),
    number: (field, range, fallback) =>
      read(field, fallback, `must be a number ${describe(range)}`, (value) =>
        inRange(value, range),
      ),
    boolean: (field, fallback) =>
      read(field, fallback, "must be true or false", (value) => typeof value === "boolean"),
    string: (field, fallback) =>
      read(field, fallback, "must be a string", (value) => typeof value === "string"),
    list: (field) =>
      raw(field) === undefined
        ? undefined
        : read<readonly unknown[]>(field, undefined, "must be a list", Array.isArray),
    object: (field) => {
      if (raw(field) === undefined) return undefined;
      const isObject = (v: unknown) => typeof v === "object" && v !== null && !Array.isArray(v);
      const value = read<JsonObject>(field, undefined, "must be an object", isObject);
      return fieldsOf(value, file, `${prefix}${field}.`);
    },
  };
}

/** A value for a message: short, on one line. */
export function show(value: unknown): string {
  const text = typeof value === "number" ? `${value}` : (JSON.stringify(value) ?? "nothing");
  return text.length > 80 ? `${text.slice(0, 80)}…` : text;
}
