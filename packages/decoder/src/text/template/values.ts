import type { Budget } from "./budget.ts";
import { TemplateFailure } from "./failure.ts";

/**
 * A value inside a template, after Python's types: None, bool, int, float, str, list, tuple, dict,
 * Jinja's undefined, and objects with attributes. Nothing of JavaScript can be reached from one.
 */
export type Value =
  | null
  | boolean
  | number
  | string
  | Float
  | readonly Value[]
  | Tuple
  | Dict
  | Undefined
  | PlainObject
  | Callable;

export type Dict = ReadonlyMap<Value, Value>;

/** A float whose value is whole: 2.0 prints with its point, 2 without. Other floats are numbers. */
export class Float {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

export class Tuple {
  readonly items: readonly Value[];
  constructor(items: readonly Value[]) {
    this.items = items;
  }
}

/** The value of a name, attribute or item that does not exist; `what` says which. */
export class Undefined {
  readonly what: string;
  constructor(what: string) {
    this.what = what;
  }
}

/** `namespace()`, `loop` and the like: attributes that are read, and perhaps written, by name. */
export class PlainObject {
  readonly read: (name: string) => Value | undefined;
  /** Absent where `{% set object.name = … %}` is not allowed. */
  readonly write: ((name: string, value: Value) => void) | undefined;
  constructor(read: PlainObject["read"], write?: (name: string, value: Value) => void) {
    this.read = read;
    this.write = write;
  }
}

export interface CallArguments {
  readonly positional: readonly Value[];
  readonly named: ReadonlyMap<string, Value>;
}

/** A macro, a method or a global function. */
export class Callable {
  readonly call: (args: CallArguments) => Value;
  constructor(call: (args: CallArguments) => Value) {
    this.call = call;
  }
}

export function isDict(value: Value): value is Dict {
  return value instanceof Map;
}

export function isList(value: Value): value is readonly Value[] {
  return Array.isArray(value);
}

/** Copies JSON-like data into template values; functions, symbols and bigints are refused. */
export function toValue(data: unknown): Value {
  if (data === undefined || data === null) return null;
  if (typeof data === "boolean" || typeof data === "number" || typeof data === "string") {
    return data;
  }
  if (Array.isArray(data)) return data.map(toValue);
  if (typeof data === "object") {
    return new Map(Object.entries(data).map(([key, value]) => [key, toValue(value)]));
  }
  throw new TemplateFailure(`a ${typeof data} cannot be passed to a template`);
}

/** `value`, or the other one where there is none; None is a value (`??` would replace it). */
export function orElse(value: Value | undefined, other: () => Value): Value {
  return value === undefined ? other() : value;
}

/** The number behind an int, float or bool; undefined for anything else. */
export function numeric(value: Value): number | undefined {
  if (typeof value === "number") return value;
  if (typeof value === "boolean") return value ? 1 : 0;
  return value instanceof Float ? value.value : undefined;
}

export function isFloat(value: Value): boolean {
  return value instanceof Float || (typeof value === "number" && !Number.isInteger(value));
}

export function toFloat(value: number): Value {
  return Number.isInteger(value) ? new Float(value) : value;
}

export function isTrue(value: Value): boolean {
  if (value === null || value === false || value === "" || value instanceof Undefined) return false;
  if (value instanceof Tuple) return value.items.length > 0;
  if (isList(value)) return value.length > 0;
  if (isDict(value)) return value.size > 0;
  return numeric(value) !== 0;
}

/** The name of the type, as Python's messages have it. */
export function typeName(value: Value): string {
  if (value === null) return "NoneType";
  if (typeof value === "boolean") return "bool";
  if (typeof value === "string") return "str";
  if (numeric(value) !== undefined) return isFloat(value) ? "float" : "int";
  if (isList(value)) return "list";
  if (value instanceof Tuple) return "tuple";
  if (isDict(value)) return "dict";
  if (value instanceof Undefined) return "Undefined";
  return value instanceof Callable ? "function" : "object";
}

/** The items that a loop runs over: of a list, a tuple, the keys of a dict, the characters of a str. */
export function iterate(value: Value, budget: Budget): readonly Value[] {
  if (isList(value)) return value;
  if (value instanceof Tuple) return value.items;
  if (isDict(value)) {
    budget.spend(value.size);
    return [...value.keys()];
  }
  if (typeof value === "string") {
    budget.spend(value.length);
    return Array.from(value);
  }
  if (value instanceof Undefined) return [];
  throw new TemplateFailure(`'${typeName(value)}' object is not iterable`);
}
